"""Large rasters and published downloads into tiles. Run: python -m datasets.prepare."""
