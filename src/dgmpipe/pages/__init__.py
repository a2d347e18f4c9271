"""Pages about the results: the report, the paper set beside it, and the page of a tier."""
