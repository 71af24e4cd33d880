"""Is a data set usable, and what is suspicious about it."""
