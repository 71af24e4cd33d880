"""How good predictions are: tiles, a split, two runs side by side."""
