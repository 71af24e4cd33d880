"""A contest on building heights, of which little is published."""

from datasets.catalogue.entries import FORK, NOT_STATED, fork_weights

HUAWEI = {
    "Huawei_Contest": {
        "name": "Huawei contest",
        "source": f"named without a description by {FORK}; perhaps "
        "https://algotester.com/en/ContestProblem/Display/135254",
        "licence": NOT_STATED,
        "obtain": "not known. The contest page above offers 512 x 512 PNG images, with outlines "
        "and heights of buildings in JSON files. Height and label files must be drawn from these.",
        "files": {
            "rgb": "512 x 512 pixels (the crop size of the fork); type not verified",
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
            "The gsd is not known. If the files have no map grid, give it in a dataset.toml of two "
            'lines: like = "Huawei_Contest" and gsd = ...',
            "It was not verified that the contest page is the source of this data set: it mentions "
            "2,200 training and 4,444 test images, the fork 2,633 test tiles.",
            "No paper was found.",
        ],
    },
}
