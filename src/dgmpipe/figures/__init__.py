"""The figures of the paper, each drawn by one function from arrays alone."""

import os

try:
    import matplotlib  # noqa: F401
except ValueError:
    # A notebook's MPLBACKEND goes to all that it starts, and stops the import where the backend is
    # not installed. Nothing here needs one.
    del os.environ["MPLBACKEND"]
