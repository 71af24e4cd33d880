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
