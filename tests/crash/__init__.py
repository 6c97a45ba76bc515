"""The server killed under load."""
