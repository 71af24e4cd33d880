"""Which devices compute, how processes train together, and how much memory is left."""
