"""End to end: the real program, driven over HTTP and by its command line."""
