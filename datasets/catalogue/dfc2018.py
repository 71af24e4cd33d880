"""IEEE GRSS Data Fusion Contest 2018: Houston, lidar heights with sentinel values, 20 classes."""

from datasets.catalogue.entries import AUTHORS, FORK, NOT_STATED, Entry, building_or_not

BUILDINGS = [8, 9]  # residential, non-residential
NAMES = (
    "healthy grass",
    "stressed grass",
    "artificial turf",
    "evergreen trees",
    "deciduous trees",
    "bare earth",
    "water",
    "residential buildings",
    "non-residential buildings",
    "roads",
    "sidewalks",
    "crosswalks",
    "major thoroughfares",
    "highways",
    "railways",
    "paved parking lots",
    "unpaved parking lots",
    "cars",
    "trains",
    "stadium seats",
)


def _tiles(*corners: str) -> list[str]:
    return [f"UH_NAD83_{corner}" for corner in corners]


_LARGE: Entry = {
    "name": "DFC2018 Houston",
    "source": "https://hyperspectral.ee.uh.edu/?page_id=1075",
    "paper": "Xu et al., Advanced multi-sensor optical remote sensing for urban land use and land "
    "cover classification: outcome of the 2018 IEEE GRSS Data Fusion Contest, IEEE JSTARS 12(6), "
    "2019, doi 10.1109/JSTARS.2019.2911113",
    "licence": f"{NOT_STATED}; acknowledge the IEEE GRSS and the Hyperspectral Image Analysis "
    "Lab of the University of Houston",
    "obtain": "request it as the source page says. Photos: FinalRGBHRImagery; heights: "
    "Lidar_GeoTiff_Rasters, DSM_C12 for dsm, one of the DEM folders for dem; labels: TrainingGT.",
    "files": {
        "rgb": "14 tiles of 596 m x 601 m, 8-bit red, green, blue; published at 0.05 m",
        "dsm": "32-bit float, metres: the surface if there is a dem, else surface minus terrain; "
        "nodata near 3.4e38, also -9999 and other values beyond +-1000",
        "dem": "terrain, in the same format; optional",
        "sem": "8-bit codes at 0.5 m; 0 = unlabelled",
    },
    "splits": {
        "train": _tiles("272056_3289689", "272652_3289689", "273248_3289689"),
        "valid": _tiles("273844_3289689"),
        "test": _tiles(
            "271460_3289689",
            "271460_3290290",
            "272056_3290290",
            "272652_3290290",
            "273248_3290290",
            "273844_3290290",
            "274440_3289689",
            "274440_3290290",
            "275036_3289689",
            "275036_3290290",
        ),
    },
    "gsd": 0.5,
    "crop_size": 320,
    "batch_size": 4,
    "classes": [{"code": code, "name": name} for code, name in enumerate(NAMES, start=1)],
    "ignore_codes": [0],
    "loss_weights": {"height": 1.0, "semantic": 1.0, "normal": 1.0},
    "height_limits": [-1000, 1000],
    "notes": [
        "Photos have 0.05 m per pixel, heights and labels 0.5 m. The record expects all files on "
        f"the 0.5 m grid; the authors ({AUTHORS}) index all files alike, but do not state their "
        "grid.",
        "Surface and terrain are published separately. python -m datasets.prepare subtracts them "
        "once and for all; with a folder dem beside dsm they are subtracted each time they are "
        "read. The limits of +-1000 m apply to their difference.",
        "Which terrain model the authors subtract (DEM+B_C123, DEM_C123_3msr or DEM_C123_TLI) is "
        "not stated; Carvalho et al. use DEM_C123_TLI.",
        "Heights beyond +-1000 m are nodata here; the authors replace them by the extreme of the "
        "tile, which invents heights.",
        "Two classes are buildings (8 and 9), but a record can name only one building code. This "
        "record names none, so the building metrics are null. The _bin variant has them.",
        "The contest published labels for the four train and valid tiles only. Label files of "
        "other tiles must have codes 0 to 20, too.",
        "The authors train on all four of these and have no valid split; tile 273844 for valid is "
        f"that of the fork ({FORK}).",
        "The fork weights heights by 100, classes by 1 and normals times 255 by 10, so the normals "
        "dominate; the record takes the authors' 1, 1, 1 instead.",
    ],
}

_CROPS: Entry = _LARGE | {
    "name": "DFC2018 Houston, crops of 256",
    "obtain": "no public download was found; cut the tiles of DFC2018 into 256 x 256 pixels.",
    "files": _LARGE["files"] | {"rgb": "256 x 256 pixels, 8-bit red, green, blue"},
    "crop_size": 256,
    "batch_size": 6,
    "notes": [
        f"The fork ({FORK}) made the crops; how they were cut, their gsd, and which tiles are in "
        "which split is not published. The splits here are those of the large tiles: crops of one "
        "tile belong in one split.",
        "The fork's batch size is 6; in earlier versions it was 10.",
        *_LARGE["notes"],
    ],
}

_TWO = [
    "Building (codes 8 and 9) or not, from the label files with codes 0 to 20. Label files of 0 "
    "and 1 need their own dataset.toml, since 1 means healthy grass here."
]


DFC2018 = {
    "DFC2018": _LARGE,
    "DFC2018_bin": building_or_not(_LARGE, BUILDINGS, _TWO),
    "DFC2018_crp256": _CROPS,
    "DFC2018_crp256_bin": building_or_not(_CROPS, BUILDINGS, _TWO),
}
