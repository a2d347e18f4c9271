"""The figures of the paper, each drawn by one function from arrays alone."""

import contextlib
import os
import sys

# A notebook's MPLBACKEND goes to all that it starts, and stops matplotlib's import where that
# backend is not installed. Nothing here needs one.
if "matplotlib" not in sys.modules and (_backend := os.environ.pop("MPLBACKEND", None)):
    import matplotlib

    os.environ["MPLBACKEND"] = _backend
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
