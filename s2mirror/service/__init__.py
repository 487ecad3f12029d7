"""The parts put together: one cycle on demand, or a daemon that runs for years."""
