"""What predict.py makes of its settings, with a network that says the same everywhere."""

from types import SimpleNamespace

import numpy as np
import pytest

from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster
from prediction import predictor
from prediction.predictor import Predictor, image_reader
from settings.loading import load

OPTIONS = [("--outputs", {"default": ""}), ("--sar", {})]


@pytest.fixture
def make(monkeypatch):
    """Returns a function (options) -> `Predictor`."""

    weights = {"mtl": "digest"}

    def network(image, training):
        return {"heights": image[..., :1], "normals": 0 * image + [0.5, 0.2, 0.9]}

    monkeypatch.setattr(predictor, "stored_stage", lambda *_: SimpleNamespace(gsd=0.5))
    monkeypatch.setattr(predictor, "load_identified", lambda *_: (network, None, dict(weights)))
    given = ["--sem_flag=false", "--dropout=0"]

    def make(*options, digest="digest"):
        weights["mtl"] = digest
        return Predictor(load("", [*given, *options], OPTIONS))

    return make


@pytest.fixture
def scene(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((2, 2, 3), "uint8"), Grid(2, 2, None, ""))
    return tmp_path / "a.tif"


def test_published_normals_are_decoded(make):
    predict = make("--normal_coding=published", "--outputs=normals").predict_batch
    normals = predict(np.zeros((1, 2, 2, 3), "float32"))["normals"]  # coded as (n + 1) / 2
    np.testing.assert_allclose(normals, np.broadcast_to([0, -0.6, 0.8], (1, 2, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    "option", ["--overlap=0", "--window_size=64", "--tta=true", "--match_gsd=true", "--seed=1"]
)
def test_what_changes_the_heights_makes_another_prediction(make, scene, option):
    assert make(option)._identity(scene) != make()._identity(scene)


def test_other_weights_make_another_prediction(make, scene):
    before = make()._identity(scene)
    assert make(digest="another")._identity(scene) != before


class Part:
    """A photo or radar image of 2 x 2 pixels."""

    def __init__(self, values, valid):
        self.image = np.full((2, 2, len(values)), values, "float32")
        self.valid = np.array(valid, bool)

    def read(self, row, rows):
        return self.image[row : row + rows], self.valid[row : row + rows]


def test_a_pixel_needs_data_in_photo_and_radar():
    photo, radar = Part([1, 2, 3], [[1, 1], [0, 0]]), Part([4], [[1, 0], [1, 0]])
    image, valid = image_reader(photo, radar)(0, 2)
    np.testing.assert_array_equal(valid, [[True, False], [False, False]])
    np.testing.assert_array_equal(image, [[[1, 2, 3, 4], [0] * 4], [[0] * 4, [0] * 4]])
