"""A contest on building heights, of which little is published."""

from datasets.catalogue.entries import FORK, NOT_STATED, fork_weights

HUAWEI = {
    "Huawei_Contest": {
        "name": "Huawei contest",
        "source": f"named by {FORK}, without a description; perhaps "
        "https://algotester.com/en/ContestProblem/Display/135254",
        "licence": NOT_STATED,
        "obtain": "not known. The contest page above offers 512 x 512 PNG images with outlines "
        "and heights of buildings in JSON files, to be drawn into height and label files.",
        "files": {
            "rgb": "512 x 512 pixels (the fork's crop size); type not verified",
            "dsm": "metres in the fork's reports; type and nodata value not verified",
            "sem": "0 and 1",
        },
        "splits": {"test": 2633},
        "crop_size": 512,
        "batch_size": 2,
        "classes": [{"code": 0, "name": "other"}, {"code": 1, "name": "building"}],
        "building_code": 1,
        "loss_weights": fork_weights(1e-5, 1e-6, 1e-10),
        "notes": [
            "The gsd is not known. Where the files have no map grid, a dataset.toml of two lines "
            'gives it: like = "Huawei_Contest" and gsd = ...',
            "That the contest page is the source of this data set was not verified; it speaks of "
            "2,200 training and 4,444 test images, the fork of 2,633 test tiles.",
            "No paper was found.",
        ],
    },
}
