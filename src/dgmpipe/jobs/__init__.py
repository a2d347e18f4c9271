"""What surrounds the work of a job: its frame, devices, locks, progress and origin."""
