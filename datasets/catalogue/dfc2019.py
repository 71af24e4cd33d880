"""IEEE GRSS Data Fusion Contest 2019, track 1 (US3D): satellite photos, LAS label codes."""

from datasets.catalogue.entries import FORK, NOT_STATED, Entry, building_or_not, fork_weights

FORMATS = "https://github.com/pubgeo/dfc2019/blob/master/data/README.md"
BUILDING = 6


def _crops(size: int, batch_size: int, notes: list[str]) -> Entry:
    """Returns the entry for crops of `size` pixels."""
    return {
        "name": f"DFC2019 US3D, crops of {size}",
        "source": "https://ieee-dataport.org/open-access/data-fusion-contest-2019-dfc2019",
        "paper": "Bosch et al., Semantic stereo for incidental satellite images, WACV 2019, "
        "arXiv:1811.08739; data: doi 10.21227/c6tm-vw12",
        "licence": f"{NOT_STATED} on the pages read; open access at the source, images courtesy "
        "of DigitalGlobe",
        "obtain": "download Train-Track1-RGB and Train-Track1-Truth (AGL, CLS) at the source and "
        f"cut the 1024 x 1024 images into {size} x {size} pixels; no public download of the crops "
        "was found.",
        "files": {
            "rgb": f"{size} x {size} pixels, 8-bit red, green, blue (_RGB)",
            "dsm": "32-bit float, metres above ground (_AGL); NaN = nodata",
            "sem": "8-bit codes of the LAS specification (_CLS); 65 = unlabelled",
        },
        "gsd": 0.35,
        "crop_size": size,
        "batch_size": batch_size,
        "classes": [
            {"code": 2, "name": "ground"},
            {"code": 5, "name": "trees"},
            {"code": BUILDING, "name": "building"},
            {"code": 9, "name": "water"},
            {"code": 17, "name": "bridge or elevated road"},
        ],
        "ignore_codes": [65],
        "building_code": BUILDING,
        "loss_weights": fork_weights(1e-2, 1e-1, 1e-5),
        "notes": [
            *notes,
            "Images are not rectified and have no map grid, so the files do not give the gsd. It "
            "is assumed to be 0.35 m, the middle of the 0.31 to 0.39 m stated for WorldView-3 "
            "images here; not verified. Some papers use images of 1.3 m.",
            f"The contest does not score unlabelled pixels ({FORMATS}); the fork ({FORK}) trains "
            "code 65 as a sixth class.",
            "The contest did not publish heights of validation and test with the images. Cities: "
            "Jacksonville (JAX) and Omaha (OMA).",
            "Random splits of crops leak: the RMSE is about 2.1 m, but 5.5 m with the official "
            "spatial split. Crops of one image, and images of one place, belong in one split.",
            "A variant for the DrivenData challenge stores heights as 16-bit centimetres: "
            f'a dataset.toml of like = "DFC2019_crp{size}" and height_scale = 0.01 reads it.',
        ],
    }


def _two(entry: Entry, notes: list[str]) -> Entry:
    """Returns the two-class variant, which also reads label files of 0 and 1."""
    files = entry["files"] | {"sem": "8-bit, 0 and 1, or codes of the LAS specification"}
    classes = [{"code": 0, "name": "other"}, *entry["classes"]]
    reads = "Reads label files of both kinds: the codes above, and 0 = not building, 1 = building."
    more = entry | {"files": files, "classes": classes}
    return building_or_not(more, [1, BUILDING], [reads, *notes])


_CRP256 = _crops(256, 6, ["The fork's batch size is 6; in earlier versions it was 10."])
_CRP512 = _crops(512, 2, [])

DFC2019 = {
    "DFC2019_crp256": _CRP256,
    "DFC2019_crp256_bin": _two(_CRP256, []),
    "DFC2019_crp512": _CRP512,
    "DFC2019_crp512_bin": _two(
        _CRP512,
        [
            "78.6 % of the training pixels are not building (CLASS_DISTRIBUTION_ANALYSIS.md of "
            f"{FORK}); how the crops were chosen is not published.",
            "Versions of the fork differ in their loss weights of height, classes and normals: "
            "0.01, 0.1, 0.00001 (used here); 0.1, 10, 0.0001; and 1, 1, 1.",
        ],
    )
    | {"splits": {"train": 14000, "valid": 2000, "test": 4000}},
}
