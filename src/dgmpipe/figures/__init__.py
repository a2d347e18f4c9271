"""The figures of the paper, each drawn by one function from arrays alone."""
