import numpy as np
import pytest
import tensorflow as tf

from datasets.crops.targets import published_normals, unit_normals
from models import height_network
from models.call_state import call_state
from models.height_network import VIEWS, Extras, make_height_network
from models.mtl import NetworkOptions, build_mtl


class Surface:
    """A perfect network: heights are the red band, normals those of this surface."""

    def __init__(self, coding="unit"):
        self.code = published_normals if coding == "published" else lambda h: unit_normals(h, 1.0)

    def __call__(self, image, training):
        heights = image[..., :1]
        return {"heights": heights, "normals": self.code(heights)}


def hill():
    """A 9 x 9 px surface without symmetry, (1, 9, 9, 3)."""
    row, column = np.mgrid[:9, :9].astype("float32")
    heights = 0.3 * column + 0.8 * row + 0.02 * column**2 * row
    return np.repeat(heights[None, ..., None], 3, axis=-1)


@pytest.mark.parametrize("coding", ["unit", "published"])
def test_a_perfect_network_is_perfect_in_every_view(coding):
    plain = make_height_network(Surface(coding), extras=Extras(coding))(hill())
    turned = make_height_network(Surface(coding), extras=Extras(coding, True, True))(hill())
    np.testing.assert_allclose(plain["normals"], true_normals(coding), atol=1e-5)
    for name in ("heights", "normals"):
        np.testing.assert_allclose(turned[name], plain[name], atol=1e-4)
    np.testing.assert_allclose(turned["uncertainty"], 0, atol=1e-5)


def true_normals(coding):
    heights = tf.constant(hill()[..., :1])
    return published_normals(heights) * 2 - 1 if coding == "published" else unit_normals(heights, 1)


def test_the_eight_views_are_all_different_squares():
    seen = []

    def remember(image, training):
        seen.append(np.array(image)[0, :2, :2, 0].tolist())
        return {"heights": image[..., :1]}

    image = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")[None, ..., None] * np.ones(3, "float32")
    result = make_height_network(remember, extras=Extras(views=True))(image)
    assert len({str(view) for view in seen}) == len(VIEWS) == 8
    np.testing.assert_allclose(result["heights"], image[..., :1])


def test_uncertainty_is_the_standard_deviation_over_the_views():
    numbers = iter(range(8))

    def numbered(image, training):
        return {"heights": tf.fill([1, 4, 4, 1], float(next(numbers)))}

    result = make_height_network(numbered, extras=Extras(views=True, spread=True))
    maps = result(np.zeros((1, 4, 4, 3), "float32"))
    np.testing.assert_allclose(maps["heights"], 3.5)
    np.testing.assert_allclose(maps["uncertainty"], np.sqrt(63 / 12), rtol=1e-6)  # of 0 to 7


def test_dropout_gives_a_repeatable_spread_and_leaves_the_heights_alone(monkeypatch):
    monkeypatch.setattr(height_network, "DROPOUT_SAMPLES", 3)
    mtl = build_mtl(NetworkOptions("tiny", 0.02, dropout=0.5), 0)
    image = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    network = tf.function(make_height_network(mtl, extras=Extras(spread=True)))
    first, again = network(image), network(image)
    heights, spread = first["heights"].numpy(), first["uncertainty"].numpy()
    assert spread.min() >= 0 and spread.mean() > 0.01 * np.abs(heights).mean()
    np.testing.assert_array_equal(first["uncertainty"], again["uncertainty"])
    np.testing.assert_allclose(
        first["heights"], make_height_network(mtl)(image)["heights"], atol=1e-5
    )


def test_no_window_shares_its_dropout_with_another():
    numbers = []

    def remember(image, training):
        if call_state.always_drop:
            numbers.extend(int(call_state.first_sample) + i for i in range(len(image)))
        return {"heights": image[..., :1]}

    make_height_network(remember, extras=Extras(spread=True))(np.zeros((3, 4, 4, 3), "float32"))
    assert sorted(numbers) == list(range(3 * height_network.DROPOUT_SAMPLES))


def test_normals_come_only_on_request():
    assert "normals" not in make_height_network(Surface())(hill())
