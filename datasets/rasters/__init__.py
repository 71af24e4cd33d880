"""GDAL: reading, warping and writing rasters. The only place that imports it."""
