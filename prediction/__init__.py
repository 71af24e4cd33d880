"""From an image of any size to maps: windows, blending, GeoTIFFs, resuming after a stop."""
