"""SSBH as prepared for DSMNet: 16-bit Sentinel-2 images of 62 Chinese cities."""

from datasets.catalogue.entries import NOT_STATED, fork_weights

SSBH = {
    "SSBH": {
        "name": "SSBH, prepared and split",
        "source": "https://github.com/ahmad-naghavi-ozu/SSBH-prep-split",
        "paper": "Ma, Wang, Cao, SSBH: a remote sensing building height dataset for deep "
        "learning, GRSM 2024, SPIE 13506, p. 388-394, 2025",
        "licence": NOT_STATED,
        "obtain": "follow the link to the split data set in the README of the source; it has "
        "the standard layout.",
        "files": {
            "rgb": "256 x 256 pixels, 16-bit red, green, blue (Sentinel-2 B4, B3, B2 stretched)",
            "dsm": "32-bit float, metres above ground, 0 or more; no nodata",
            "sem": "8-bit, 0 and 1",
        },
        "splits": {"train": 3924, "valid": 560, "test": 1122},
        "gsd": 10.0,
        "crop_size": 256,
        "batch_size": 6,
        "classes": [{"code": 0, "name": "other"}, {"code": 1, "name": "building"}],
        "building_code": 1,
        "loss_weights": fork_weights(1.0, 1e3, 1e-3),
        "rgb_scale": 255 / 65535,
        "notes": [
            "Tiles are split at random (seed 42), so neighbours lie in different splits.",
            "Counts are 70, 10 and 20 % of 5,606 tiles; the source calls them 'expected'.",
            "Heights come from crowdsourced floor counts. Missing and negative heights were "
            "interpolated before publication and cannot be distinguished from measured ones.",
            "A pixel is labelled as building if its height is above 0 m, so labels add no "
            "information.",
            "Bands are stretched from their 2nd to their 98th percentile, so brightness may not be "
            "comparable between images.",
            "The fork trains on it with rates of 1e-6 (MTL) and 1e-7 (DAE), since it feeds these "
            "images in 0-1 and all others in 0-255; this code scales all images alike.",
        ],
    },
}
