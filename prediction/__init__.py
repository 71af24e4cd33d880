"""From an image of any size to maps: windows, blending, GeoTIFFs, going on after a stop."""
