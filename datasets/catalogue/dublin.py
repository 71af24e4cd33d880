"""Dublin by IM2ELEVATION: aerial photos with a surface model, no labels."""

from datasets.catalogue.entries import FORK, NOT_STATED

DUBLIN = {
    "Dublin": {
        "name": "Dublin (IM2ELEVATION)",
        "source": "https://github.com/speed8928/IMELE",
        "paper": "Liu et al., IM2ELEVATION: building height estimation from single-view aerial "
        "imagery, Remote Sensing 12(17), 2719, 2020, doi 10.3390/rs12172719",
        "licence": f"{NOT_STATED}; the paper is to be cited",
        "obtain": "follow the link to the OSI data set in the README at the source.",
        "files": {
            "rgb": "500 x 500 pixels, 8-bit red, green, blue; photos of 2017",
            "dsm": "metres; lidar of 2015",
        },
        "crop_size": 480,
        "centre_crop": 480,
        "batch_size": 2,
        "loss_weights": {"height": 1.0, "normal": 650.25},  # fork_weights(1e-3, 0, 1e-5)
        "notes": [
            "The gsd was not verified. Where the files have no map grid, a dataset.toml of two "
            'lines gives it: like = "Dublin" and gsd = ...',
            "Heights are a surface model, so above a datum and not above ground. The fork "
            f"({FORK}) also names Dublin_ndsm, heights above ground, of unknown origin.",
            "No labels: the semantic decoder and the building metrics are off.",
            "Of each tile the middle 480 x 480 pixels are used, for training and testing, as the "
            "fork does. A dataset.toml with centre_crop = 500 uses all.",
            "Splits are not published. Buildings changed between lidar (2015) and photos (2017).",
            "File type and nodata value were not verified; the source stores heights as 16-bit "
            "thousandths for its own training.",
        ],
    },
}
