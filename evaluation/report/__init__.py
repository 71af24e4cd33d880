"""What a reader sees of an evaluation: figures and report.html."""
