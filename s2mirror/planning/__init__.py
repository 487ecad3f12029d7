"""Decisions, and nothing else: the clock, the disk and the dice come in as arguments."""
