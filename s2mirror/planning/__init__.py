"""Pure decisions: the clock, the disk and the jitter are arguments."""
