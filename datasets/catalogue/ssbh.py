"""SSBH as prepared for DSMNet: 16-bit Sentinel-2 images of 62 Chinese cities."""

from datasets.catalogue.entries import NOT_STATED, fork_weights

SSBH = {
    "SSBH": {
        "name": "SSBH, prepared and split",
        "source": "https://github.com/ahmad-naghavi-ozu/SSBH-prep-split",
        "paper": "Ma, Wang, Cao, SSBH: a remote sensing building height dataset for deep "
        "learning, GRSM 2024, SPIE 13506, p. 388-394, 2025",
        "licence": NOT_STATED,
        "obtain": "follow the link to the split data set in the README at the source; it is in "
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
            "Counts are 70, 10 and 20 % of 5,606 tiles, 'expected' in the source's words.",
            "Heights come from crowdsourced floor counts; missing and negative ones were filled "
            "in by interpolation before publication and cannot be told from measured ones.",
            "Labels are height above 0 m, so they carry no knowledge of their own.",
            "Bands are stretched from their 2nd to their 98th percentile: brightness may not "
            "compare between images.",
            "The fork trains it with rates of 1e-6 (MTL) and 1e-7 (DAE), since it feeds images "
            "in 0-1 here and in 0-255 elsewhere; here all images are scaled alike.",
        ],
    },
}
