"""The settings: config.py, presets, command line, checks. Imports no TensorFlow."""
