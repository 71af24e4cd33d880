"""IEEE GRSS Data Fusion Contest 2023, track 2: buildings of 17 cities, with radar images."""

from datasets.catalogue.entries import FORK, NOT_STATED, Entry, fork_weights

BASELINE = "https://github.com/AICyberTeam/DFC2023-baseline"
ISSUES = "https://github.com/ahmad-naghavi-ozu/DFC2023-annotation-issue"

_ALL: Entry = {
    "name": "DFC2023 track 2",
    "source": "https://ieee-dataport.org/competitions/"
    "2023-ieee-grss-data-fusion-contest-large-scale-fine-grained-building-classification",
    "paper": "Persello et al., 2023 IEEE GRSS Data Fusion Contest: large-scale fine-grained "
    "building classification for semantic urban reconstruction, IEEE DataPort, 2022, "
    "doi 10.21227/mrnt-8w27",
    "licence": f"{NOT_STATED}; 'the dataset can be openly downloaded', under the contest's terms",
    "obtain": "download track 2 at the source: folders rgb, sar and height (or dsm), and "
    "buildings_only_train.json, whose footprints give the label files. python -m datasets.prepare "
    "converts all of them.",
    "files": {
        "rgb": "512 x 512 pixels, 8-bit red, green, blue; SuperView-1 (SV_) and Gaofen-2 (GF2_)",
        "dsm": "32-bit float, metres above ground; no nodata value is known",
        "sem": "8-bit, 0 and 1, drawn from the footprints",
        "sar": "512 x 512 pixels, one band, 0-255; Gaofen-3, 1 m, on the photo's pixels; for "
        "sar_mode=fusion",
    },
    "gsd": 0.5,
    "crop_size": 512,
    "batch_size": 2,
    "classes": [{"code": 0, "name": "other"}, {"code": 1, "name": "building"}],
    "building_code": 1,
    "loss_weights": fork_weights(1e-3, 1.0, 1e-5),
    "notes": [
        f"The pixel type of the radar images is not stated. The contest's baseline ({BASELINE}) "
        "stacks them on the photo's three bands and divides all four by 255, so sar_scale is 1. "
        "Float files are refused unless a dataset.toml gives another scale.",
        "Pixels are 0.5 m (SuperView-1) or 0.8 m (Gaofen-2) in the same split, but a record has "
        "only one gsd: slopes of Gaofen-2 tiles come out 1.6 times too steep. datasets.prepare "
        "takes one satellite at a time. It was not verified whether the files have a map grid; if "
        "they have one, tiles of 0.8 m are refused.",
        "Heights come from stereo images of Gaofen-7 and WorldView 1 and 2. They have about 2 m "
        "per pixel and are coarser than the photos.",
        f"Known errors ({ISSUES}): 7.2 % of the 125,153 footprints have height 0 (in 85.1 % of "
        "the 1,773 images); many footprints outline the roof and not the base.",
        "Some footprints are COCO polygons, others run-length codes; a reader of polygons alone "
        "loses buildings.",
        "Heights of the contest's validation and test images were not published, so every split "
        "with heights divides the 1,773 training images of 17 cities, and not by place.",
        "The highest height is 147 to 183 m, depending on the source.",
    ],
}


def _variant(letters: str, splits: dict[str, int], note: str) -> Entry:
    """Returns the entry for one of the fork's selections."""
    return _ALL | {
        "name": f"DFC2023 track 2, {letters}",
        "obtain": f"no public download was found: it is a selection by the fork ({FORK}) from the "
        "training images of DFC2023; the lists of tiles are not published.",
        "splits": splits,
        "notes": [note, *_ALL["notes"]],
    }


DFC2023 = {
    "DFC2023": _ALL,
    "DFC2023S": _variant(
        "S",
        {"train": 1419, "valid": 177, "test": 177},
        "All 1,773 training images of the contest.",
    ),
    "DFC2023A": _variant("A", {}, "Another split of the same images; its counts are not known."),
    "DFC2023Asmall": _variant("Asmall", {}, "A part of A; its counts are not known."),
    "DFC2023mini": _variant("mini", {}, "A small part for trials; its counts are not known."),
    "DFC2023Amini": _variant(
        "Amini",
        {"train": 20, "test": 8},
        "A small part of A for trials; the count of its valid split is not known.",
    ),
}
