"""Dublin by IM2ELEVATION: aerial photos with a surface model, no labels."""

from datasets.catalogue.entries import FORK, NOT_STATED

DUBLIN = {
    "Dublin": {
        "name": "Dublin (IM2ELEVATION)",
        "source": "https://github.com/speed8928/IMELE",
        "paper": "Liu et al., IM2ELEVATION: building height estimation from single-view aerial "
        "imagery, Remote Sensing 12(17), 2719, 2020, doi 10.3390/rs12172719",
        "licence": f"{NOT_STATED}; the paper is to be cited",
        "obtain": "follow the link to the OSI data set in the README of the source.",
        "files": {
            "rgb": "500 x 500 pixels, 8-bit red, green, blue; photos of 2017",
            "dsm": "metres; lidar of 2015",
        },
        "crop_size": 480,
        "centre_crop": 480,
        "batch_size": 2,
        "loss_weights": {"height": 1.0, "normal": 650.25},  # fork_weights(1e-3, 0, 1e-5)
        "notes": [
            "The gsd was not verified. If the files have no map grid, give it in a dataset.toml of "
            'two lines: like = "Dublin" and gsd = ...',
            "Heights are a surface model, so they are above a datum, not above ground. The fork "
            f"({FORK}) also names Dublin_ndsm, heights above ground of unknown origin.",
            "There are no labels: the semantic decoder and the building metrics are off.",
            "Training and testing use the middle 480 x 480 pixels of each tile, as the fork does. "
            "With centre_crop = 500 in a dataset.toml they use all pixels.",
            "Splits are not published. Buildings changed between lidar (2015) and photos (2017).",
            "File type and nodata value were not verified; for its own training, the source stores "
            "heights as 16-bit thousandths.",
        ],
    },
}
