"""A stage of training, from the settings to the files it leaves."""
