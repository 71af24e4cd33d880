"""What the root scripts share: one-line errors, the launcher, the quick test."""
