"""Everything about data, up to batches of crops."""
