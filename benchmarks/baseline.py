"""Measures what is reached without a network: the yardstick beside every result.

The training mean height and majority class, and gradient boosting on colour and blurred colour.
Example: python -m benchmarks.yardstick Demo --splits=valid,test
"""

import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from datasets.checks.validation import check_split
from datasets.demo.data_set import ensure_demo
from datasets.rasters.reading import RasterError
from datasets.tiles.folders import DataError, list_tiles
from datasets.tiles.labels import LabelError
from datasets.tiles.samples import read_tile_window, tile_grid
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.tile_maps import TileMaps
from evaluation.report.tables import metrics_table
from project.files import write_json
from settings.loading import load_named, read_splits

OPTIONS = (
    ("--splits", {"default": "test", "metavar": "LIST", "help": "of train, valid, test [test]"}),
)
MOST_PIXELS = 200_000  # of a split that the boosting learns from, or stops by
BLURS = (1, 2, 4, 8, 16)  # Gaussian, standard deviations in pixels
BLUR_COUNTS = (3, 4, 5)  # so many of them, from the finest on; `valid` decides which
BOOSTING = {  # of scikit-learn; the rest as it comes
    "learning_rate": 0.1,
    "min_samples_leaf": 200,
    "max_iter": 500,
    "early_stopping": True,
    "n_iter_no_change": 20,
}
STRIP_PIXELS = 500_000  # predicted at a time


@dataclass(frozen=True)
class Pixels:
    """Pixels drawn from a split.

    Attributes:
        features: float32 (pixels, features), of all `BLURS`.
        targets: (pixels,), heights in metres or class indices.
    """

    features: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """A boosting and what was found out about it on `valid`.

    Attributes:
        model: fitted estimator of scikit-learn.
        blurs: tuple of standard deviations in pixels.
        valid_error: RMSE in metres, or share of wrong pixels, of the pixels drawn from `valid`.
    """

    model: object
    blurs: tuple
    valid_error: float


def colour_features(image, blurs):
    """Computes what the boosting sees of each pixel: its colour and the colour around it.

    Args:
        image: float32 (rows, columns, 3), 0-255.
        blurs: sequence of standard deviations in pixels.

    Returns:
        float32 (rows, columns, 3 + 3 x blurs).
    """
    return np.concatenate([image, *(cv2.GaussianBlur(image, (0, 0), s) for s in blurs)], axis=-1)


def read_whole(tile, record):
    """Returns all that is used of a tile as a dict of `read_tile_window`."""
    grid = tile_grid(tile, record)
    return read_tile_window(tile, record, 0, 0, grid.rows, grid.columns)


def draw_pixels(record, tiles, summary, seed):
    """Draws pixels of a split, the same share of every tile.

    Args:
        record: `datasets.records.record.Record`.
        tiles: sequence of `datasets.tiles.folders.Tile`.
        summary: `datasets.checks.validation.SplitSummary` of them.
        seed: int; the same pixels come with the same seed.

    Returns:
        dict of "heights" and "classes" to `Pixels`, at most `MOST_PIXELS` each: those with a
        valid height, and those with a class.
    """
    rng = np.random.default_rng(seed)
    totals = {"heights": summary.valid_pixels, "classes": sum(summary.class_counts)}
    drawn = {target: ([], []) for target in totals}
    for tile in tiles:
        sample = read_whole(tile, record)
        features = colour_features(sample["image"], BLURS)
        masks = {"heights": sample["valid"], "classes": sample["classes"] >= 0}
        for target, mask in masks.items():
            places = np.flatnonzero(mask)
            count = len(places) * MOST_PIXELS // max(MOST_PIXELS, totals[target])
            places = rng.choice(places, count, replace=False)
            drawn[target][0].append(features.reshape(mask.size, -1)[places])
            drawn[target][1].append(sample[target].ravel()[places])
    return {target: Pixels(*map(np.concatenate, parts)) for target, parts in drawn.items()}


def fit_best(estimator, error, train, valid, seed):
    """Fits a boosting with each of `BLUR_COUNTS`, each for as long as `valid` gains.

    Args:
        estimator: class of scikit-learn's histogram gradient boosting.
        error: function (targets, predicted) -> float.
        train, valid: `Pixels`.
        seed: int.

    Returns:
        `Fitted`, that with the smallest error on `valid`.
    """
    candidates = []
    for count in BLUR_COUNTS:
        seen, unseen = (pixels.features[:, : 3 + 3 * count] for pixels in (train, valid))
        model = estimator(**BOOSTING, random_state=seed)
        model.fit(seen, train.targets, X_val=unseen, y_val=valid.targets)
        candidates.append(Fitted(model, BLURS[:count], error(valid.targets, model.predict(unseen))))
    return min(candidates, key=lambda fitted: fitted.valid_error)


def predict_tile(fitted, image):
    """Predicts a whole tile.

    Args:
        fitted: `Fitted`.
        image: float32 (rows, columns, 3), 0-255.

    Returns:
        (rows, columns): heights in metres, or class indices.
    """
    features = colour_features(image, fitted.blurs)
    flat = features.reshape(-1, features.shape[-1])
    strips = [flat[i : i + STRIP_PIXELS] for i in range(0, len(flat), STRIP_PIXELS)]
    return np.concatenate([fitted.model.predict(s) for s in strips]).reshape(image.shape[:2])


def fit_targets(settings, tiles, summaries):
    """Fits a boosting to the heights, and one to the classes where there are any.

    Args:
        settings: `settings.loading.Settings`.
        tiles: dict of "train" and "valid" to sequences of `datasets.tiles.folders.Tile`.
        summaries: dict of the same to `datasets.checks.validation.SplitSummary`.

    Returns:
        dict of "heights", and "classes" if both splits have labels, to `Fitted`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    train, valid = (
        draw_pixels(settings.record, tiles[split], summaries[split], settings.seed)
        for split in ("train", "valid")
    )
    seed, heights, classes = settings.seed, "heights", "classes"
    fitted = {
        heights: fit_best(HistGradientBoostingRegressor, rmse, train[heights], valid[heights], seed)
    }
    # A class that the training split lacks cannot be learned, nor say when to stop.
    known = np.isin(valid[classes].targets, train[classes].targets)
    if settings.sem_flag and known.any():
        scored = Pixels(valid[classes].features[known], valid[classes].targets[known])
        fitted[classes] = fit_best(
            HistGradientBoostingClassifier, wrong_share, train[classes], scored, seed
        )
    return fitted


def rmse(heights, predicted):
    """Returns the root of the mean squared error, metres."""
    return float(np.sqrt(np.mean(np.square(predicted - heights, dtype="float64"))))


def wrong_share(classes, predicted):
    """Returns the share of pixels with another class."""
    return float(np.mean(predicted != classes))


def evaluate(settings, tiles, train_summary, fitted):
    """Measures boosting and training mean on every pixel of a split.

    Args:
        settings: `settings.loading.Settings`.
        tiles: sequence of `datasets.tiles.folders.Tile`.
        train_summary: `datasets.checks.validation.SplitSummary` of the training split.
        fitted: dict of `fit_targets`.

    Returns:
        Two dicts with the keys of metrics.json, of the boosting and of the training mean.
    """
    record = settings.record
    boosting, mean = (SplitMetrics(record.class_names, record.building_index) for _ in range(2))
    counts = train_summary.class_counts
    for tile in tqdm(tiles, unit="tile", leave=False, dynamic_ncols=True, delay=1):
        sample = read_whole(tile, record)
        heights, valid, classes = sample["heights"], sample["valid"], sample["classes"]
        maps = {target: predict_tile(model, sample["image"]) for target, model in fitted.items()}
        found = maps["heights"], valid, classes, maps.get("classes")
        boosting.add(TileMaps(tile.name, heights, *found))
        average = np.full_like(heights, train_summary.mean_height)
        majority = np.full_like(classes, np.argmax(counts)) if counts else None
        mean.add(TileMaps(tile.name, heights, average, valid, classes, majority))
    return boosting.result(), mean.result()


def describe(fitted):
    """Returns what metrics.json says about the features, by target."""
    return {
        target: {
            "colours": "red, green, blue; as they are and blurred",
            "blurs": found.blurs,
            "iterations": found.model.n_iter_,
            "valid_error": found.valid_error,
        }
        for target, found in fitted.items()
    }


def prepare(settings, splits):
    """Lists and checks the splits; the demo data is made where it is asked for and absent.

    Returns:
        Two dicts by split: tuples of `datasets.tiles.folders.Tile`, and
        `datasets.checks.validation.SplitSummary`s.

    Raises:
        DataError: naming every file that cannot be used.
    """
    record = settings.record
    if settings.dataset_name == "Demo" and not (record.folder / "dataset.toml").is_file():
        ensure_demo(record.folder)
    tiles = {split: list_tiles(record, split) for split in splits}
    summaries = {split: check_split(record, split, tiles[split], 1) for split in splits}
    for warning in (text for summary in summaries.values() for text in summary.warnings):
        print(f"warning: {warning}")
    return tiles, summaries


def measure(settings, splits):
    """Fits, then evaluates the splits, one after the other, and writes their metrics.json."""
    start = time.perf_counter()
    tiles, summaries = prepare(settings, dict.fromkeys(["train", "valid", *splits]))
    fitted = fit_targets(settings, tiles, summaries)
    fitting = time.perf_counter() - start
    for split in splits:
        start = time.perf_counter()
        measured, mean = evaluate(settings, tiles[split], summaries["train"], fitted)
        folder = Path(settings.output_dir) / settings.dataset_name / f"yardstick_{split}"
        extra = {
            "seconds": fitting + time.perf_counter() - start,
            "training_mean": {"height": summaries["train"].mean_height, **mean},
            "settings": settings.values,
            "features": describe(fitted),
        }
        write_json(folder / "metrics.json", measured | extra)
        print(f"\n{settings.record.name}, {split} split, {len(tiles[split])} tiles:")
        print(metrics_table({"boosting": measured, "training mean": mean}))
        print(f"Written to {folder}")


def main(arguments=None):
    settings = load_named(__doc__, arguments, OPTIONS)
    splits = read_splits(settings.options.splits)
    if find_spec("sklearn") is None:
        sys.exit("error: scikit-learn is not installed. Run: ./setup.sh --dev")
    try:
        measure(settings, splits)
    except (DataError, RasterError, LabelError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
