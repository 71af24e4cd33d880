"""Measures of heights, classes, normals and buildings, summed tile by tile; no TensorFlow."""
