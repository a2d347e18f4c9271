"""What `dgmpipe` does on the command line, and the same as functions."""
