import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.measures.class_metrics import CLASS_MEASURES
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.pixel_groups import GROUP_MEASURES
from evaluation.measures.tile_maps import TileMaps

NAMES = ("ground", "vegetation", "building")
NAN = float("nan")
HEIGHTS = np.array([[0.0, 4.0, 10.0], [20.0, 50.0, NAN]])
PREDICTED = np.array([[-1.0, 5.0, 25.0], [20.0, 40.0, NAN]])  # errors -1, 1, 15, 0, -10
VALID = np.isfinite(HEIGHTS)
CLASSES = np.array([[0, 2, 2], [2, 2, -1]])
PREDICTED_CLASSES = np.array([[0, 2, 1], [2, 2, 0]])


def measured(*tiles, names=NAMES, building_index=2, detailed=False):
    """Returns the `SplitMetrics` of tiles, given as the arguments of `TileMaps` after the name."""
    metrics = SplitMetrics(names, building_index, detailed)
    for number, tile in enumerate(tiles):
        metrics.add(TileMaps(f"tile_{number}", *tile))
    return metrics


def detailed(*tiles):
    """Returns the result of a detailed evaluation of tiles."""
    return measured(*tiles, detailed=True).result()


TILE = (HEIGHTS, PREDICTED, VALID, CLASSES, PREDICTED_CLASSES)


def test_building_measures_worked_out_by_hand():
    result = measured(TILE).result()
    assert result["rmse_building"] == pytest.approx((326 / 4) ** 0.5)
    assert result["rmse_matched"] == pytest.approx((101 / 3) ** 0.5)  # heights 4, 20, 50


def test_ground_taken_for_a_building_is_not_matched():
    tile = (np.zeros((1, 2)), np.array([[9.0, 4.0]]), np.ones((1, 2), bool))
    result = measured((*tile, np.array([[0, 2]]), np.array([[2, 2]]))).result()
    assert result["rmse_matched"] == 4.0


def test_label_counts_where_the_height_is_not_valid_but_not_as_a_building_height():
    classes = np.where(VALID, CLASSES, 2)
    result = measured((HEIGHTS, PREDICTED, VALID, classes, PREDICTED_CLASSES)).result()
    assert result["rmse_building"] == pytest.approx((326 / 4) ** 0.5)
    assert result["overall_accuracy"] == pytest.approx(4 / 6)


def test_rise_measures_go_by_true_height():
    result = measured(TILE).result()
    assert result["low_rise_rmse"] == pytest.approx((226 / 2) ** 0.5)  # heights 4 and 10
    assert (result["mid_rise_rmse"], result["high_rise_rmse"]) == (0, 10)


def test_15_m_is_mid_and_40_m_is_high():
    heights = np.array([[14.9, 15.0, 40.0]])
    errors = np.array([[1.0, 2.0, 3.0]])
    tile = (heights, heights + errors, np.ones((1, 3), bool), np.full((1, 3), 2))
    result = measured(tile).result()
    rises = [result[f"{rise}_rise_rmse"] for rise in ("low", "mid", "high")]
    assert rises == pytest.approx([1, 2, 3])


def test_semantic_measures_are_pooled_over_tiles():
    other = (HEIGHTS, PREDICTED, VALID, CLASSES, np.zeros_like(CLASSES))
    result = measured(TILE, other).result()
    assert result["overall_accuracy"] == pytest.approx((4 + 1) / 10)
    assert result["per_class"]["building"]["recall"] == pytest.approx(3 / 8)


def test_tiles_weigh_the_same_in_the_mean_and_by_pixels_in_pooled():
    small = (np.zeros((1, 1)), np.full((1, 1), 4.0), np.ones((1, 1), bool))
    large = (np.zeros((1, 3)), np.full((1, 3), 2.0), np.ones((1, 3), bool))
    result = measured(small, large).result()
    assert (result["mae"], result["pooled"]["mae"]) == (3.0, 2.5)
    assert (result["rmse"], result["pooled"]["rmse"]) == (3.0, 7.0**0.5)
    assert (result["tiles"], result["valid_pixels"]) == (2, 4)


def test_a_perfect_tile_counts_in_the_mean():
    assert measured(TILE, (HEIGHTS, HEIGHTS, VALID)).result()["mae"] == pytest.approx(27 / 5 / 2)


def test_tile_without_valid_pixels_counts_in_no_mean():
    empty = (HEIGHTS, PREDICTED, np.zeros((2, 3), bool))
    result = measured(TILE, empty).result()
    assert result["tiles"] == 2
    assert result["mae"] == pytest.approx(27 / 5)


def test_measures_without_pixels_are_none():
    result = measured(
        (HEIGHTS, PREDICTED, ~np.ones((2, 3), bool)), names=(), building_index=None
    ).result()
    values = [*result["pooled"].values(), *(v for k, v in result.items() if k != "pooled")]
    assert {v for v in values if not isinstance(v, dict)} == {None, 1, 0}
    assert result["per_class"] == {}


def test_buildings_are_measured_without_predicted_classes():
    result = measured(TILE[:4]).result()
    assert result["rmse_building"] == pytest.approx((326 / 4) ** 0.5)
    assert (result["rmse_matched"], result["miou"]) == (None, None)


def test_rows_hold_each_tile():
    metrics = measured(TILE, (HEIGHTS, HEIGHTS, VALID))
    assert [row["tile"] for row in metrics.rows] == ["tile_0", "tile_1"]
    assert [row["rmse"] for row in metrics.rows] == pytest.approx([(327 / 5) ** 0.5, 0])
    assert metrics.rows[0]["valid_pixels"] == 5
    assert metrics.rows[0]["overall_accuracy"] == pytest.approx(4 / 5)


@st.composite
def whole_tiles(draw):
    """Draws (heights, predicted, valid, classes, predicted classes) of one shape."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    heights, predicted = rng.laplace(2.0, draw(st.sampled_from([0.1, 9.0, 90.0])), (2, *shape))
    valid = rng.random(shape) < draw(st.floats(0, 1))
    return heights, predicted, valid, rng.integers(-1, 3, shape), rng.integers(0, 3, shape)


def pooled_values(result):
    """Returns what is pooled, without the distances that a cut through a tile changes."""
    headline = {key: result[key] for key in (*GROUP_MEASURES, *CLASS_MEASURES, "valid_pixels")}
    parts = [headline, result["pooled"], *result["per_class"].values()]
    parts += result["per_height_bin"].values()
    parts += [convention["pooled"] for convention in result["conventions"].values()]
    return [value for part in parts for value in part.values()]


@settings(deadline=None, max_examples=60, derandomize=True, database=None)
@given(whole_tiles(), st.lists(st.integers(1, 5), max_size=4), st.sampled_from([0, 1]))
def test_pooled_values_do_not_depend_on_the_tiling(tile, cuts, axis):
    pieces = zip(*(np.split(array, sorted(cuts), axis) for array in tile), strict=True)
    one, many = detailed(tile), detailed(*(piece for piece in pieces if piece[0].size))
    assert many["confusion"] == one["confusion"]
    for ours, theirs in zip(pooled_values(many), pooled_values(one), strict=True):
        assert ours == (theirs if theirs is None else pytest.approx(theirs, rel=1e-6, abs=1e-9))


@settings(deadline=None, max_examples=60, derandomize=True, database=None)
@given(whole_tiles(), st.sampled_from([NAN, np.inf, -9999.0, 1e30]))
def test_nodata_pixels_never_matter(tile, rubbish):
    heights, predicted, valid, classes, found = tile
    changed = [np.where(valid, array, rubbish) for array in (heights, predicted)]
    found_changed = np.where(classes < 0, 2 - found, found)
    assert detailed((*changed, valid, classes, found_changed)) == detailed(tile)


@settings(deadline=None, max_examples=30, derandomize=True, database=None)
@given(whole_tiles(), st.sampled_from([NAN, np.inf, -9999.0]))
def test_normals_where_they_are_not_known_never_matter(tile, rubbish):
    known = np.broadcast_to(tile[2][..., None], (*tile[2].shape, 3))
    true = np.where(known, np.array([0.0, 0.6, 0.8]), NAN)
    found = np.broadcast_to([0.0, 0.0, 1.0], known.shape)
    results = [
        detailed((*tile, true, predicted))["normals"]
        for predicted in (found, np.where(known, found, rubbish))
    ]
    assert results[0] == results[1] and results[0]["valid_pixels"] == tile[2].sum()


@pytest.mark.parametrize("rubbish", [NAN, np.inf, -9999.0])
def test_pixels_that_are_not_valid_never_matter(rubbish):
    changed = [np.where(VALID, array, rubbish) for array in (HEIGHTS, PREDICTED)]
    assert measured((*changed, *TILE[2:])).result() == measured(TILE).result()


def test_class_without_name_names_the_tile():
    with pytest.raises(ValueError, match="'tile_0': true class indices"):
        measured((HEIGHTS, PREDICTED, VALID, CLASSES + 1, PREDICTED_CLASSES))


def test_building_index_must_be_a_class():
    with pytest.raises(ValueError, match="building_index is 3"):
        SplitMetrics(NAMES, 3)


def test_spread_of_the_correction_counts_valid_pixels_of_all_tiles():
    metrics = SplitMetrics()
    for values, known in (([1.0, 3.0, 99.0], [True, True, False]), ([5.0, NAN], [True, False])):
        values, zeros = np.array([values]), np.zeros((1, len(values)))
        metrics.add(TileMaps("a", zeros, zeros, np.array([known]), correction=values))
    correction = metrics.result()["correction"]
    assert correction["mean"] == pytest.approx(3)
    assert correction["std"] == pytest.approx((8 / 3) ** 0.5)


def test_without_stage_2_there_is_no_correction():
    assert measured(TILE).result()["correction"] == {"mean": None, "std": None}


ROOF_NAMES = ("ground", "roof")
ROOF_HEIGHTS = np.array([[0.0, 0.5, 12.0], [4.0, 50.0, NAN]])
ROOF_TILE = (
    ROOF_HEIGHTS,
    np.array([[-1.0, 2.5, 9.0], [8.0, 40.0, NAN]]),  # errors -1, 2, -3, 4, -10
    np.isfinite(ROOF_HEIGHTS),
    np.array([[0, 0, 1], [-1, 1, 1]]),
    np.array([[0, 1, 1], [1, 1, 0]]),
)


def roof_metrics(*tiles):
    """Returns the detailed `SplitMetrics` of tiles with the classes `ROOF_NAMES`."""
    return measured(*tiles, names=ROOF_NAMES, building_index=1, detailed=True)


@pytest.fixture(scope="module")
def metrics():
    """Returns the detailed `SplitMetrics` of one tile."""
    return roof_metrics(ROOF_TILE)


def test_heights_of_each_class_stand_beside_its_iou(metrics):
    ground, roof = metrics.result()["per_class"].values()
    assert (ground["valid_pixels"], ground["bias"]) == (2, 0.5)
    assert (roof["valid_pixels"], roof["rmse"]) == (2, pytest.approx((109 / 2) ** 0.5))
    assert (ground["iou"], roof["iou"]) == (1 / 3, 2 / 4)  # the unlabelled pixel is left out


def test_heights_of_each_bin(metrics):
    bins = metrics.result()["per_height_bin"]
    assert {name: measures["bias"] for name, measures in bins.items()} == {
        "below_1": 0.5,
        "1_to_5": 4,
        "5_to_10": None,
        "10_to_15": -3,
        "15_to_25": None,
        "25_to_40": None,
        "from_40": -10,
    }
    assert (bins["from_40"]["from"], bins["from_40"]["below"]) == (40, None)
    assert sum(measures["valid_pixels"] for measures in bins.values()) == 5


def test_errors_near_outlines_and_elsewhere():
    errors = np.array([[9.0, 2.0, 2.0, 2.0, -1.0, -1.0, -1.0, 7.0]])
    classes = np.array([[0, 0, 0, 0, 1, 1, 1, 1]])
    metrics = roof_metrics((np.zeros((1, 8)), errors, np.ones((1, 8), bool), classes))
    edges, (row,) = metrics.result()["edges"], metrics.rows
    assert (edges["near_outline"]["bias"], edges["near_outline"]["valid_pixels"]) == (0.5, 6)
    assert (edges["elsewhere"]["rmse"], row["elsewhere_mae"]) == (pytest.approx(65**0.5), 8)


def test_conventions_worked_out_by_hand(metrics):
    conventions = metrics.result()["conventions"]
    assert conventions["clipped"]["mae"] == pytest.approx(19 / 5)  # -1 becomes 0
    assert conventions["clipped"]["delta1"] == 1 / 5
    # ratios to 999 m, 5, 4/3, 2 and exactly 1.25
    shares = {"delta1": 0, "delta2": 2 / 5, "delta3": 2 / 5}
    assert conventions["dfc2023"] == {**shares, "pooled": shares}
    assert conventions["true_above_0"]["mae"] == pytest.approx(19 / 4)
    assert conventions["either_above_3"]["pooled"]["mae"] == pytest.approx(17 / 3)


def test_conventions_are_means_of_tiles_and_pooled():
    both = roof_metrics(ROOF_TILE, (np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1), bool)))
    above = both.result()["conventions"]["true_above_0"]
    assert (above["mae"], above["pooled"]["mae"]) == (pytest.approx(19 / 8), pytest.approx(19 / 5))


def test_buildings_and_confusion(metrics):
    result = metrics.result()
    assert (result["buildings"]["true"], result["buildings"]["matched"]) == (1, 1)
    assert metrics.rows[0]["buildings_f1"] == 1
    assert result["confusion"] == {"classes": ROOF_NAMES, "pixels": [[1, 1], [1, 2]]}


def test_normals_stand_in_the_result_and_in_the_row():
    up = np.broadcast_to([0.0, 0.0, 1.0], (2, 3, 3))
    true = np.where(np.isfinite(ROOF_HEIGHTS)[..., None], up, NAN)
    metrics = roof_metrics((*ROOF_TILE[:3], None, None, true, up))
    (row,) = metrics.rows
    assert (metrics.result()["normals"]["mean_angle"], row["normals_mean_angle"]) == (0, 0)
    assert row["normals_valid_pixels"] == 5
    assert SplitMetrics(detailed=True).result()["normals"] is None


def test_tile_without_labels_has_heights_but_no_classes_or_buildings():
    result = roof_metrics(ROOF_TILE[:3]).result()
    assert result["per_class"]["roof"]["rmse"] is None
    assert result["edges"]["near_outline"]["rmse"] is None
    assert result["buildings"]["f1"] is None
    assert result["per_height_bin"]["from_40"]["rmse"] == 10
