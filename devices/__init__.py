"""Which devices compute, how processes are joined, and how much memory is left."""
