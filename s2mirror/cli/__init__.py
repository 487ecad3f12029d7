"""The command line: parse, call, print, exit. No decision lives here."""
