"""One optimizer step, the loop around it, its state and its logs; knows no settings."""
