"""Options of every client in the download benchmark; imports nothing, so it costs nothing."""

BUCKET = "eodata"
KEYS = ("BENCHMARKKEY01234567", "not-a-secret-of-anybody")
CONNECTIONS = 4
REGION = "us-east-1"
