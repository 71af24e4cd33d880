import numpy as np
import pytest

from evaluation.tiles import evaluate_tiles
from prediction.tiles import make_predictor, predict_maps


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_every_window_comes_back_in_order(make_replicas, replicas, count):
    predict = make_predictor(make_replicas(replicas), lambda images: {"heights": images * 2})
    images = np.arange(count * 4 * 4 * 3, dtype="float32").reshape(count, 4, 4, 3)
    np.testing.assert_array_equal(predict(images)["heights"], images * 2)


def test_maps_are_heights_and_the_likeliest_class():
    def predict(images):
        shares = np.where(images[..., :1] > 5, [0.2, 0.8], [0.9, 0.1])
        return {"heights": images[..., :1], "semantics": shares}

    image = np.array([[1.0, 9.0], [9.0, 1.0]], "float32")[..., None] * np.ones(3, "float32")
    maps = predict_maps(image, predict, window_size=2, overlap=0.0, batch_windows=1)
    np.testing.assert_allclose(maps["heights"], [[1, 9], [9, 1]])
    np.testing.assert_array_equal(maps["classes"], [[0, 1], [1, 0]])


def test_tiles_are_measured_and_handed_on():
    class Name:
        def __init__(self, name):
            self.name = name

    class Record:
        class_names, building_index = ("ground",), None

    seen = []
    sample = {
        "image": np.zeros((2, 2, 3), "float32"),
        "heights": np.array([[1.0, np.nan], [3.0, 5.0]]),
        "valid": np.array([[True, False], [True, True]]),
        "classes": np.zeros((2, 2), "int32"),
    }
    metrics = evaluate_tiles(
        [Name("a"), Name("b")],
        lambda tile: sample,
        lambda image: {"heights": np.full((2, 2), 3.0)},
        Record,
        lambda tile, sample, maps, values: seen.append((tile.name, values["mae"])),
    )
    assert seen == [("a", 4 / 3), ("b", 4 / 3)]
    assert metrics.result()["tiles"] == 2
