"""Measures a baseline without a network, with which each result can be compared.

It predicts the mean height and the majority class of the training split, and, by gradient boosting,
each pixel from its colour and the blurred colours. Example:
python -m benchmarks.baseline Demo --splits=valid,test
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from datasets.checks.progress import ensure_demo_data
from datasets.checks.validation import SplitSummary, check_split
from datasets.records.record import Record
from datasets.tiles.folders import Tile, list_tiles
from datasets.tiles.samples import Sample, read_tile_window, tile_grid
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.tile_maps import TileMaps
from evaluation.report.tables import metrics_table
from project.errors import UserError
from project.files import write_json
from runs.folders import output_folder
from settings.loading import Settings, load_named, read_splits

OPTIONS = (
    ("--splits", {"default": "test", "metavar": "LIST", "help": "of train, valid, test [test]"}),
)
MOST_PIXELS = 200_000  # of a split that the boosting learns from, or is chosen by
BLURS = (1, 2, 4, 8, 16)  # Gaussian, standard deviations in pixels
BLUR_COUNTS = (3, 4, 5)  # numbers of blurs, from the finest on, among which `valid` decides
BOOSTING = {  # of scikit-learn; all other parameters have their defaults
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
        features: float32 (pixels, features), with all `BLURS`.
        targets: (pixels,), heights in metres or class indices.
    """

    features: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """The boosting that is best on `valid`.

    Attributes:
        model: fitted estimator of scikit-learn.
        blurs: standard deviations in pixels.
        valid_error: RMSE in metres, or share of wrong pixels, on the pixels drawn from `valid`.
    """

    model: Any
    blurs: tuple[int, ...]
    valid_error: float


def colour_features(image: np.ndarray, blurs: Iterable[int]) -> np.ndarray:
    """Computes the features of each pixel: its colour and the blurred colours.

    Args:
        image: float32 (rows, columns, 3), 0-255.
        blurs: standard deviations in pixels.

    Returns:
        float32 (rows, columns, 3 + 3 x blurs).
    """
    return np.concatenate([image, *(cv2.GaussianBlur(image, (0, 0), s) for s in blurs)], axis=-1)


def read_whole(tile: Tile, record: Record) -> Sample:
    """Reads a whole tile."""
    grid = tile_grid(tile, record)
    return read_tile_window(tile, record, 0, 0, grid.rows, grid.columns)


def draw_pixels(
    record: Record, tiles: Iterable[Tile], summary: SplitSummary, seed: int
) -> dict[str, Pixels]:
    """Draws pixels of a split, the same share of every tile.

    Args:
        record: of the data set.
        tiles: of the split.
        summary: of these tiles.
        seed: the same one draws the same pixels.

    Returns:
        At most `MOST_PIXELS` each: "heights", with a valid height, and "classes", with a class.
    """
    rng = np.random.default_rng(seed)
    totals = {"heights": summary.valid_pixels, "classes": sum(summary.class_counts)}
    drawn: dict[str, tuple[list, list]] = {target: ([], []) for target in totals}
    for tile in tiles:
        sample = read_whole(tile, record)
        features = colour_features(sample["image"], BLURS)
        heights, classes = sample["heights"], sample["classes"]
        usable = {"heights": (heights, sample["valid"]), "classes": (classes, classes >= 0)}
        for target, (values, mask) in usable.items():
            places = np.flatnonzero(mask)
            count = len(places) * MOST_PIXELS // max(MOST_PIXELS, totals[target])
            places = rng.choice(places, count, replace=False)
            drawn[target][0].append(features.reshape(mask.size, -1)[places])
            drawn[target][1].append(values.ravel()[places])
    return {target: Pixels(*map(np.concatenate, parts)) for target, parts in drawn.items()}


def fit_best(
    estimator: Callable,
    error: Callable[[np.ndarray, np.ndarray], float],
    train: Pixels,
    valid: Pixels,
    seed: int,
) -> Fitted:
    """Fits a boosting with each of `BLUR_COUNTS`, each until `valid` stops improving.

    Args:
        estimator: class of scikit-learn's histogram gradient boosting.
        error: of (targets, predictions).
        train, valid: to learn from, and to choose by.
        seed: of the estimator.

    Returns:
        The one with the smallest error on `valid`.
    """
    candidates = []
    for count in BLUR_COUNTS:
        seen, unseen = (pixels.features[:, : 3 + 3 * count] for pixels in (train, valid))
        model = estimator(**BOOSTING, random_state=seed)
        model.fit(seen, train.targets, X_val=unseen, y_val=valid.targets)
        candidates.append(Fitted(model, BLURS[:count], error(valid.targets, model.predict(unseen))))
    return min(candidates, key=lambda fitted: fitted.valid_error)


def predict_tile(fitted: Fitted, image: np.ndarray) -> np.ndarray:
    """Predicts a whole tile.

    Args:
        fitted: to heights or classes.
        image: float32 (rows, columns, 3), 0-255.

    Returns:
        (rows, columns): heights in metres, or class indices.
    """
    features = colour_features(image, fitted.blurs)
    flat = features.reshape(-1, features.shape[-1])
    strips = [flat[i : i + STRIP_PIXELS] for i in range(0, len(flat), STRIP_PIXELS)]
    return np.concatenate([fitted.model.predict(s) for s in strips]).reshape(image.shape[:2])


def fit_targets(
    settings: Settings, train: dict[str, Pixels], valid: dict[str, Pixels]
) -> dict[str, Fitted]:
    """Fits a boosting to "heights", and one to "classes" if both splits have labels."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    seed, heights, classes = settings.seed, "heights", "classes"
    fitted = {
        heights: fit_best(HistGradientBoostingRegressor, rmse, train[heights], valid[heights], seed)
    }
    # A class that the training split lacks cannot be learned, so it must not decide when to stop.
    known = np.isin(valid[classes].targets, train[classes].targets)
    if settings.sem_flag and known.any():
        scored = Pixels(valid[classes].features[known], valid[classes].targets[known])
        fitted[classes] = fit_best(
            HistGradientBoostingClassifier, wrong_share, train[classes], scored, seed
        )
    return fitted


def rmse(heights: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the root of the mean squared error, metres."""
    return float(np.sqrt(np.mean(np.square(predicted - heights, dtype="float64"))))


def wrong_share(classes: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the share of pixels with another class."""
    return float(np.mean(predicted != classes))


def evaluate(
    record: Record, tiles: Iterable[Tile], train: SplitSummary, fitted: Mapping[str, Fitted]
) -> tuple[dict, dict]:
    """Measures boosting and training mean on every pixel of a split.

    Args:
        record: of the data set.
        tiles: of the split.
        train: of the training split.
        fitted: of `fit_targets`.

    Returns:
        The measures of the boosting and of the training mean, each with the keys of metrics.json.
    """
    boosting, mean = (SplitMetrics(record.class_names, record.building_index) for _ in range(2))
    counts = train.class_counts
    for tile in tqdm(tiles, unit="tile", leave=False, dynamic_ncols=True, delay=1):
        sample = read_whole(tile, record)
        heights, valid, classes = sample["heights"], sample["valid"], sample["classes"]
        maps = {target: predict_tile(model, sample["image"]) for target, model in fitted.items()}
        found = maps["heights"], valid, classes, maps.get("classes")
        boosting.add(TileMaps(tile.name, heights, *found))
        average = np.full_like(heights, train.mean_height)
        majority = np.full_like(classes, np.argmax(counts)) if counts else None
        mean.add(TileMaps(tile.name, heights, average, valid, classes, majority))
    return boosting.result(), mean.result()


def check_splits(
    settings: Settings, splits: Iterable[str]
) -> tuple[dict[str, tuple[Tile, ...]], dict[str, SplitSummary]]:
    """Lists and checks the splits; makes the demo data if it is that data set and absent.

    Returns:
        Tiles and summaries by split.

    Raises:
        DataError: if files cannot be used.
    """
    record = settings.record
    ensure_demo_data(settings.dataset_name, record)
    tiles = {split: list_tiles(record, split) for split in splits}
    summaries = {split: check_split(record, split, tiles[split], 1) for split in splits}
    for warning in (text for summary in summaries.values() for text in summary.warnings):
        print(f"warning: {warning}")
    return tiles, summaries


def measure(settings: Settings, splits: Sequence[str]) -> None:
    """Fits, then evaluates each of the splits and writes its metrics.json."""
    start, record = time.perf_counter(), settings.record
    tiles, summaries = check_splits(settings, dict.fromkeys(["train", "valid", *splits]))
    train, valid = (
        draw_pixels(record, tiles[split], summaries[split], settings.seed)
        for split in ("train", "valid")
    )
    fitted = fit_targets(settings, train, valid)
    fitting = time.perf_counter() - start
    features = {
        target: {
            "colours": "red, green, blue; as they are and blurred",
            "blurs": found.blurs,
            "iterations": found.model.n_iter_,
            "valid_error": found.valid_error,
        }
        for target, found in fitted.items()
    }
    for split in splits:
        start = time.perf_counter()
        measured, mean = evaluate(record, tiles[split], summaries["train"], fitted)
        folder = output_folder(settings, f"yardstick_{split}")
        extra = {
            "seconds": fitting + time.perf_counter() - start,
            "training_mean": {"height": summaries["train"].mean_height, **mean},
            "settings": settings.values,
            "features": features,
        }
        write_json(folder / "metrics.json", measured | extra)
        print(f"\n{record.name}, {split} split, {len(tiles[split])} tiles:")
        print(metrics_table({"boosting": measured, "training mean": mean}))
        print(f"Written to {folder}")


def main(arguments: Sequence[str] | None = None) -> None:
    settings = load_named(__doc__, arguments, OPTIONS)
    splits = read_splits(settings.options.splits)
    if find_spec("sklearn") is None:
        sys.exit("error: scikit-learn is not installed. Run: ./setup.sh --dev")
    try:
        measure(settings, splits)
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
