"""One tile: its files, and a window of it as arrays."""
