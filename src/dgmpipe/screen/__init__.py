"""What a user sees of the workflow while it runs: one live screen, or a line now and then."""
