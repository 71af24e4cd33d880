"""Every data set of the catalogue in its published form, as far as its record describes it, small.

Scaled down: tiles have 64 x 64 pixels, crops of Vaihingen and Houston 32 x 32 (crops of DFC2019 and
the tiles of Dublin have their real size, images of DFC2019 half of it), Houston's photos are 32 m
wide and lie side by side, and where no names are published a split has one or two tiles. The gsd of
Dublin and Huawei_Contest is unknown and made up.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from datasets.catalogue import CATALOGUE
from tests.published_files import ROOF, cities, class_map, houston, us3d, vaihingen

FEW = {"train": ("a", "b"), "valid": ("c",), "test": ("d",)}  # names of tiles
NAN, SENTINEL = float("nan"), 3.4e38


@dataclass(frozen=True)
class Form:
    """The published form of a data set.

    Attributes:
        classes: label code in the files to class name; {} = no labels.
        buildings: those of these codes that the lower right quarter has.
        gsd: metres per pixel.
        names: dict of split to the names of its tiles.
        size: rows and columns of the part of a tile that is used, pixels.
        frame: pixels around it.
        unit: metres per stored height.
        heights: dtype of the stored heights.
        gaps: stored heights that mean nodata, of one row each, from the top.
        unlabelled: code of the last row, or None.
        brightest: largest value of photos.
        endings: of the files of a kind, if not tif.
        radar, terrain: whether there are radar images; terrain apart from the surface.
        toml: dataset.toml that the user has to write, since the record lacks something.
        download: function (folder, form) that writes what datasets.prepare reads, or None.
        options: command and options of datasets.prepare.
        prepared: tiles of train, valid and test that it makes of the download.
    """

    classes: dict
    buildings: tuple
    gsd: float
    names: dict = field(default_factory=lambda: FEW)
    size: int = 64
    frame: int = 0
    unit: float = 1.0
    heights: str = "float32"
    gaps: tuple = ()
    unlabelled: object = None
    brightest: int = 255
    endings: dict = field(default_factory=dict)
    radar: bool = False
    terrain: bool = False
    toml: str = ""
    download: object = None
    options: tuple = ()
    prepared: tuple = ()

    @property
    def nodata_share(self):
        """Share of the pixels without a height; of a terrain one more row has none."""
        return (len(self.gaps) + self.terrain) / self.size

    @property
    def mean(self):
        """Mean height, metres: the share of buildings among the pixels with a height, times 12."""
        return ROOF * 0.25 / (1 - self.nodata_share)

    @property
    def spread(self):
        """RMSE of the mean height, metres, with the share p: 12 sqrt(p (1 - p))."""
        return (self.mean * (ROOF - self.mean)) ** 0.5

    @property
    def class_shares(self):
        """dict of class name to its share of the labelled pixels."""
        if not self.classes:
            return {}
        names = np.array(list(self.classes.values()))
        codes = class_map(self)
        counts = Counter(names[codes[codes >= 0]].tolist())
        return {name: count / counts.total() for name, count in counts.items()}


def two_classes(form):
    """Returns the form of a _bin variant, whose files are the same."""
    names = {code: "building" if code in form.buildings else "other" for code in form.classes}
    return replace(form, classes=names, options=(*form.options, "--binary=true"))


BLUE = (0, 0, 255)
_VAIHINGEN = Form(
    {
        (255, 255, 255): "impervious surfaces",
        BLUE: "building",
        (0, 255, 255): "low vegetation",
        (0, 255, 0): "tree",
        (255, 255, 0): "car",
        (255, 0, 0): "clutter",
    },
    (BLUE,),
    0.09,
    CATALOGUE["Vaihingen"]["splits"],
    unit=0.1,
    heights="uint8",
    unlabelled=(0, 0, 0),
    endings={"dsm": "jpg"},
    download=vaihingen,
    options=("vaihingen",),
    prepared=(13, 3, 17),
)
_VAIHINGEN_CROPS = replace(
    _VAIHINGEN, names=FEW, size=32, options=("vaihingen", "--tile=32"), prepared=(52, 12, 68)
)
HOUSTON_CLASSES = (
    "healthy grass,stressed grass,artificial turf,evergreen trees,deciduous trees,bare earth,"
    "water,residential buildings,non-residential buildings,roads,sidewalks,crosswalks,"
    "major thoroughfares,highways,railways,paved parking lots,unpaved parking lots,cars,trains,"
    "stadium seats"
).split(",")
_HOUSTON = Form(
    dict(enumerate(HOUSTON_CLASSES, start=1)),
    (8, 9),
    0.5,
    CATALOGUE["DFC2018"]["splits"],
    gaps=(SENTINEL, -9999),
    unlabelled=0,
    terrain=True,
    download=houston,
    options=("dfc2018",),
    prepared=(3, 1, 10),
)
_HOUSTON_CROPS = replace(  # heights above ground, which have the terrain's gaps, too
    _HOUSTON,
    names=FEW,
    size=32,
    gaps=(SENTINEL, -9999, -1500),
    terrain=False,
    options=("dfc2018", "--tile=32"),
    prepared=(12, 4, 40),
)
_US3D = Form(
    {2: "ground", 5: "trees", 6: "building", 9: "water", 17: "bridge or elevated road"},
    (6,),
    0.35,
    size=256,
    gaps=(NAN,),
    unlabelled=65,
    download=us3d,
    options=("dfc2019", "--tile=256", "--splits=0.5,0.25,0.25"),
    prepared=(8, 4, 4),
)
_US3D_512 = replace(
    _US3D, size=512, options=("dfc2019", "--splits=0.5,0.25,0.25"), prepared=(2, 1, 1)
)
_TWO_CODES = Form({0: "other", 1: "building"}, (1,), 0.5)
_CITIES = replace(_TWO_CODES, radar=True)

# By the names of the catalogue; Demo has a generator of its own. Two classes and smaller tiles are
# prepared independently of each other, so one data set with both of them is enough (DFC2019).
FORMS = {
    "Vaihingen": _VAIHINGEN,
    "Vaihingen_bin": two_classes(_VAIHINGEN),
    "Vaihingen_crp256": _VAIHINGEN_CROPS,
    "Vaihingen_crp256_bin": replace(two_classes(_VAIHINGEN_CROPS), download=None),
    "DFC2018": _HOUSTON,
    "DFC2018_bin": two_classes(_HOUSTON),
    "DFC2018_crp256": _HOUSTON_CROPS,
    "DFC2018_crp256_bin": replace(two_classes(_HOUSTON_CROPS), download=None),
    "DFC2019_crp256": _US3D,
    "DFC2019_crp256_bin": two_classes(_US3D),
    "DFC2019_crp512": _US3D_512,
    "DFC2019_crp512_bin": two_classes(_US3D_512),
    "DFC2023": replace(
        _CITIES,
        download=cities,
        options=("dfc2023", "--splits=0.5,0.25,0.25"),
        prepared=(4, 2, 2),
    ),
    "DFC2023S": _CITIES,
    "DFC2023A": _CITIES,
    "DFC2023Asmall": _CITIES,
    "DFC2023mini": _CITIES,
    "DFC2023Amini": _CITIES,
    "Dublin": Form({}, (), 0.15, size=480, frame=10, toml='like = "Dublin"\ngsd = 0.15\n'),
    "SSBH": replace(_TWO_CODES, gsd=10.0, brightest=65535),
    "Huawei_Contest": replace(
        _TWO_CODES, endings={"rgb": "png"}, toml='like = "Huawei_Contest"\ngsd = 0.5\n'
    ),
}
