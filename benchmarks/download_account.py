"""What every client of the download benchmark is told; imports nothing, which costs nothing."""

BUCKET = "eodata"
KEYS = ("BENCHMARKKEY01234567", "not-a-secret-of-anybody")
CONNECTIONS = 4
REGION = "us-east-1"
