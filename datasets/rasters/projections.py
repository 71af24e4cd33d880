"""Coordinate reference systems by their EPSG number."""

from osgeo import osr

osr.UseExceptions()


def projection_wkt(epsg):
    """Returns a coordinate reference system in the form that raster files store.

    Args:
        epsg: number in the EPSG registry, such as 32632 (UTM zone 32 north).

    Returns:
        Well-known text.

    Raises:
        ValueError: if the registry has no such number.
    """
    system = osr.SpatialReference()
    try:
        system.ImportFromEPSG(epsg)
    except RuntimeError as error:
        raise ValueError(
            f"EPSG:{epsg} is no known coordinate reference system ({error}). "
            "Look the number up at https://epsg.org."
        ) from None
    return system.ExportToWkt()


def same_projection(first, second):
    """Says whether two well-known texts place pixels alike; one that is "" agrees with any.

    Vertical parts, of lidar heights for instance, do not count.
    """
    if not first or not second or first == second:
        return True
    systems = [osr.SpatialReference(text) for text in (first, second)]
    for system in systems:
        system.StripVertical()
        system.DemoteTo2D()
    # GeoTIFF drops what does not place a pixel, such as the order of the axes.
    options = ["IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES", "CRITERION=EQUIVALENT"]
    return bool(systems[0].IsSame(systems[1], options))
