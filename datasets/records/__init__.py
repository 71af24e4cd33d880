"""What is known of a data set: its dataset.toml. Standard library only."""
