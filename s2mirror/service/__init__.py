"""The service: one cycle on demand, or a daemon that runs for years."""
