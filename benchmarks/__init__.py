"""What is measured, how, and the recorded tables."""
