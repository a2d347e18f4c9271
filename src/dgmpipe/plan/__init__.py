"""From a config to the files that the workflow makes of it; nothing here needs torch."""
