"""Evaluates one split and writes the results: metrics, GeoTIFFs and figures."""

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import contextlib
import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from datasets.rasters.writing import write_raster
from datasets.tiles.folders import Tile
from datasets.tiles.samples import Sample, tile_grid
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.tile_maps import TileMaps
from evaluation.report.figures import HeightPairs, tile_figure
from evaluation.report.gallery import SPACED_TILES, Gallery
from evaluation.report.tables import intervals_table, metrics_table, verdict
from evaluation.tiles import evaluate_tiles, true_normals
from prediction.maps import NODATA, class_codes, class_layer
from prediction.streaming import BatchPredictor
from prediction.tiles import predict_maps
from project.files import (
    check_replaceable_folder,
    read_json,
    replaced_folder,
    write_json,
    write_rows,
)
from project.version import checkout
from runs.early import MARKERS
from runs.folders import output_folder
from runs.start import Data, computed_settings, evenly_spaced, tile_reader
from runs.stored import stored_stage
from settings.loading import Settings

WRITTEN = ("report.html", "metrics.json", "per_tile.csv", "density.png", "errors.png")
RASTERS = {"dsm": ".tif", "sem": ".tif", "figures": ".png"}  # folders with a file for each tile
MOST_TRAINING_TILES = 20  # enough to see overfitting; results come from valid or test


class SplitEvaluation:
    """Evaluates one split with one stage.

    For the test split it also writes rasters and figures, and collects what the report shows.

    Attributes:
        stored: what is stored of stage 1.
        drawn: names of the tiles that a figure is made of.
        mean: measures of the training mean: its mean height and majority class everywhere.
        gallery: thumbnails of the test split's tiles.
        pairs: true and predicted heights of the test split.
    """

    def __init__(self, settings: Settings, data: Data, split: str, stage: str) -> None:
        """Writes nothing yet.

        Args:
            settings: the settings in force.
            data: with the split.
            split: "train", "valid" or "test".
            stage: "mtl", or "dae" = with the correction.

        Raises:
            FileNotFoundError: if stage 1 has not been trained.
        """
        self.settings, self.record, self.gsd = settings, data.record, data.gsd
        self.split, self.stage, self.tiles = split, stage, data.tiles[split]
        self.folder = output_folder(settings, f"{split}_{stage}")
        self.stored = stored_stage(settings, "mtl")
        self.mean = SplitMetrics(self.record.class_names, self.record.building_index)
        self.drawn = {tile.name for tile in evenly_spaced(self.tiles, settings.options.figures)}
        spaced = [tile.name for tile in evenly_spaced(self.tiles, SPACED_TILES)]
        self.gallery = Gallery(spaced, len(self.record.class_names), self.gsd)
        self.pairs = HeightPairs()

    @contextlib.contextmanager
    def replacing(self) -> Iterator[None]:
        """Lets what is written within take the place of an earlier evaluation when it is complete.

        Raises:
            UserError: if the folder holds something, but no evaluation.
            OSError: if the folder cannot be replaced.
        """
        folder = self.folder
        check_replaceable_folder(folder, MARKERS)
        with replaced_folder(folder, partial(written_earlier, split=self.split)) as self.folder:
            yield
        self.folder = folder
        print(f"Written to {folder}")

    def run(self, predict: BatchPredictor, replicas: int) -> SplitMetrics:
        """Predicts and measures all tiles, and writes their files.

        Args:
            predict: as of `prediction.tiles.make_predictor`.
            replicas: on which `predict` runs.
        """
        if self.split == "test":
            for name in RASTERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        settings, batch = self.settings, self.settings.batch_windows * replicas
        return evaluate_tiles(
            self.tiles,
            tile_reader(self.record),
            lambda image: predict_maps(
                image, predict, settings.window_size, settings.overlap, batch
            ),
            self.record,
            self.add,
            self.split,
            partial(true_normals, gsd=self.gsd, coding=settings.normal_coding),
        )

    def add(self, tile: Tile, sample: Sample, maps: dict[str, np.ndarray], row: dict) -> None:
        """Measures the training mean on one tile and writes the tile's files.

        Args:
            tile: that was predicted.
            sample: its true maps.
            maps: as of `prediction.tiles.predict_maps`.
            row: its measures.
        """
        majority = self.stored.majority_class
        training_mean = TileMaps(
            tile.name,
            sample["heights"],
            np.full_like(sample["heights"], self.stored.training_mean_height),
            sample["valid"],
            sample["classes"],
            None if majority is None else np.full_like(sample["classes"], majority),
        )
        self.mean.add(training_mean)
        if self.split == "test":
            self.write_rasters(tile, maps, sample["has_image"])
            self.gallery.add(tile.name, sample, maps, row)
            self.pairs.add(sample["heights"], maps["heights"], sample["valid"])
            if tile.name in self.drawn:
                path = self.folder / "figures" / f"{tile.name}.png"
                title = f"{self.record.name}, {tile.name}"
                tile_figure(path, sample, maps, self.record.class_names, title, self.gsd)

    def write_rasters(self, tile: Tile, maps: dict[str, np.ndarray], has_image: np.ndarray) -> None:
        """Writes the predicted heights, and classes if there are any, on the tile's grid.

        Args:
            tile: whose grid and name the files get.
            maps: as of `prediction.tiles.predict_maps`.
            has_image: bool (rows, columns); nodata is written where it is False.
        """
        grid = tile_grid(tile, self.record)
        path = self.folder / "dsm" / f"{tile.name}.tif"
        heights = np.where(has_image, maps["heights"], np.float32("nan"))
        write_raster(path, heights, grid, NODATA, "metre", "height above ground")
        if "classes" not in maps:
            return
        codes = class_codes(self.record)
        layer = class_layer(codes, self.record.class_names, {})
        pixels = np.where(has_image, np.array(codes)[maps["classes"]], layer.nodata)
        path = self.folder / "sem" / f"{tile.name}.tif"
        write_raster(
            path,
            np.asarray(pixels, layer.dtype),
            grid,
            layer.nodata,
            description="class",
            colours=layer.colours,
        )

    def report(self, metrics: SplitMetrics, seconds: float) -> dict[str, dict]:
        """Writes metrics.json and per_tile.csv and prints the table.

        Args:
            metrics: of the network.
            seconds: that the evaluation took.

        Returns:
            The titles of the table's columns to dicts with the keys of metrics.json.
        """
        measured, mean = metrics.result(), self.mean.result()
        intervals = metrics.intervals()
        extra = {
            "intervals": intervals,
            "seconds": seconds,
            "training_mean": {"height": self.stored.training_mean_height, **mean},
            "settings": computed_settings(self.settings),
            "encoder_weights": self.stored.encoder_weights,
            "version": checkout(),
        }
        write_json(self.folder / "metrics.json", measured | extra)
        write_rows(self.folder / "per_tile.csv", metrics.rows)
        title = {"mtl": "MTL", "dae": "MTL + DAE"}[self.stage]
        print(f"\n{self.record.name}, {self.split} split, {len(self.tiles)} tiles:")
        columns = {title: measured | extra, "training mean": mean}
        columns |= stored_baseline(self.settings, self.split, measured)
        print(metrics_table(columns))
        if intervals:
            print(f"\n{intervals_table(intervals)}")
        if sentence := verdict(title, columns[title]):
            print(f"\n{sentence}")
        return columns


def written_earlier(folder: Path, split: str) -> set[Path]:
    """Returns what an earlier evaluation of a split has written, by the list of its tiles.

    Args:
        folder: of the evaluation.
        split: "train", "valid" or "test"; only the last has files for each tile.

    Returns:
        Paths relative to the folder; none of them need exist. Without a list that can be read,
        no tile is known, and users keep files that they may have put among those of the tiles.
    """
    names: list[str] = []
    with contextlib.suppress(OSError, ValueError, csv.Error):
        with (folder / "per_tile.csv").open(newline="", encoding="utf-8-sig") as file:
            names = [row.get("tile") or "" for row in csv.DictReader(file)]
    inner = RASTERS.items() if split == "test" else ()
    return {
        *map(Path, WRITTEN),
        *(Path(kind, f"{name}{ending}") for name in names for kind, ending in inner),
    }


def stored_baseline(settings: Settings, split: str, measured: dict) -> dict[str, dict]:
    """Returns what benchmarks/baseline.py has measured on the same tiles, as a table column.

    Args:
        settings: the settings in force.
        split: "train", "valid" or "test".
        measured: of the network, with the keys of metrics.json.

    Returns:
        "boosting" to the content of its metrics.json; {} if there is none, or if it is of another
        number of tiles or pixels.
    """
    path = output_folder(settings, f"yardstick_{split}") / "metrics.json"
    if not path.is_file():
        return {}
    try:
        stored = read_json(path)
        metrics_table({"boosting": stored})  # raises unless it has what a table shows
    except (ValueError, KeyError, TypeError, AttributeError):
        print(f"warning: {path} is damaged; the table leaves it out.")
        return {}
    same = all(stored.get(name) == measured[name] for name in ("tiles", "valid_pixels"))
    return {"boosting": stored} if same else {}
