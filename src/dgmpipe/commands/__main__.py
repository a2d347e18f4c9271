"""`python -m dgmpipe.commands` is the command `dgmpipe`."""

from dgmpipe.commands.app import main

if __name__ == "__main__":
    main(prog_name="dgmpipe")
