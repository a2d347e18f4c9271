"""Every figure and number of "An Introduction to Deep Generative Modeling", regenerated."""

__version__ = "0.1.0"
