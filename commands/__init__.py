"""What scripts share: one-line errors, readers of options, the launcher, the quick test."""
