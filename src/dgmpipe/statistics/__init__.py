"""Statistics of samples, which need no model."""
