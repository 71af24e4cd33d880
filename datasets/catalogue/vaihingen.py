"""ISPRS Vaihingen: false-colour aerial photos, 8-bit heights in decimetres, colour labels."""

from datasets.catalogue.entries import AUTHORS, FORK, Entry, building_or_not, fork_weights

BUILDING = [0, 0, 255]


def _areas(*numbers: int) -> list[str]:
    return [f"top_mosaic_09cm_area{number}" for number in numbers]


_LARGE: Entry = {
    "name": "ISPRS Vaihingen",
    "source": "https://www.isprs.org/resources/datasets/benchmarks/UrbanSemLab/"
    "2d-sem-label-vaihingen.aspx",
    "paper": "Rottensteiner et al., The ISPRS benchmark on urban object classification and 3D "
    "building reconstruction, ISPRS Annals I-3, 2012, doi 10.5194/isprsannals-I-3-293-2012",
    "licence": "ISPRS benchmark terms; redistribution is forbidden",
    "obtain": "request photos (top) and labels (gts_for_participants) at the source; heights above "
    "ground by M. Gerke are at https://www.researchgate.net/publication/270104315 (a zip file).",
    "files": {
        "rgb": "33 tiles of different sizes, 8-bit near infrared, red, green",
        "dsm": "8-bit JPEG, decimetres above ground; no nodata value is known",
        "sem": "8-bit colours; in the files named _noBoundary, objects have black borders",
    },
    "splits": {
        "train": _areas(1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 30, 34),
        "valid": _areas(28, 32, 37),
        "test": _areas(2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38),
    },
    "gsd": 0.09,
    "crop_size": 320,
    "batch_size": 4,
    "classes": [
        {"code": [255, 255, 255], "name": "impervious surfaces"},
        {"code": BUILDING, "name": "building"},
        {"code": [0, 255, 255], "name": "low vegetation"},
        {"code": [0, 255, 0], "name": "tree"},
        {"code": [255, 255, 0], "name": "car"},
        {"code": [255, 0, 0], "name": "clutter"},
    ],
    "ignore_codes": [[0, 0, 0]],
    "building_code": BUILDING,
    # The authors weight heights / 255 by 100; one such unit is 25.5 m.
    "loss_weights": {"height": round(100 / 25.5**2, 6), "semantic": 1.0, "normal": 10.0},
    "height_scale": 0.1,
    "notes": [
        "Photos are false colour (near infrared, red, green), unlike those that ImageNet weights "
        "were trained on.",
        "8 bits end at 25.5 m: higher objects are cut off there. JPEG blurs heights at edges.",
        "The title of the download says that heights are decimetres ('heights encoded in dm'). "
        "Users who read values near 45 doubt it "
        "(https://github.com/zhu-xlab/HTC-DC-Net/issues/3).",
        "Do not use the dsm files of the benchmark itself: they are absolute heights in metres.",
        f"The authors ({AUTHORS}) train on all 16 train and valid areas and have no valid split; "
        f"areas 28, 32 and 37 for valid are those of the fork ({FORK}).",
        "Multiply published errors of heights / 255 by 25.5 to get metres.",
        "Labels of the test areas were withheld during the benchmark; "
        "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE.zip contains them.",
    ],
}

_CROPS: Entry = _LARGE | {
    "name": "ISPRS Vaihingen, crops of 256",
    "obtain": "no public download was found; cut the tiles of Vaihingen into 256 x 256 pixels.",
    "files": _LARGE["files"] | {"rgb": "256 x 256 pixels, 8-bit near infrared, red, green"},
    "crop_size": 256,
    "batch_size": 6,
    "loss_weights": fork_weights(1e-4, 1e-1, 1e-5, unit=0.1),
    "notes": [
        f"The fork ({FORK}) made the crops; how they were cut, and which tiles are in which split, "
        "is not published. The splits here are those of the large tiles: crops of one tile belong "
        "in one split.",
        "The fork's batch size is 6; in earlier versions it was 10.",
        "Heights are assumed to be decimetres in 8 bits, as in the large tiles; not verified.",
        *_LARGE["notes"],
    ],
}

_TWO = ["Building or not, from the colour labels. Label files of 0 and 1 cannot be read."]

VAIHINGEN = {
    "Vaihingen": _LARGE,
    "Vaihingen_bin": building_or_not(_LARGE, [BUILDING], _TWO),
    "Vaihingen_crp256": _CROPS,
    "Vaihingen_crp256_bin": building_or_not(_CROPS, [BUILDING], _TWO),
}
