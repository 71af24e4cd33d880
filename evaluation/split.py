"""Evaluates one split and writes what a user looks at: metrics, GeoTIFFs and figures."""

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import json
from functools import partial

import numpy as np

from datasets.rasters.writing import write_raster
from datasets.tiles.samples import tile_grid
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.tile_maps import TileMaps
from evaluation.report.figures import tile_figure
from evaluation.report.page import TilePictures
from evaluation.report.tables import intervals_table, metrics_table
from evaluation.tiles import evaluate_tiles, true_normals
from prediction.maps import NODATA, class_codes, class_layer
from prediction.tiles import predict_maps
from project.files import write_json, write_rows
from runs.folders import output_folder
from runs.start import computed_settings, evenly_spaced, tile_reader
from runs.stored import stored_stage

WRITTEN = ("report.html", "metrics.json", "per_tile.csv", "density.png", "errors.png")
RASTERS = {"dsm": ".tif", "sem": ".tif", "figures": ".png"}  # a file for each tile
MOST_TRAINING_TILES = 20  # measured to see overfitting; a result comes from valid or test


class SplitEvaluation:
    """Evaluation of one split with one stage.

    Files are written for the test split; for the others only the measures.
    """

    def __init__(self, settings, data, split, stage):
        """Prepares the output folder: what an earlier evaluation wrote into it is removed.

        Args:
            settings: `settings.loading.Settings`.
            data: `runs.start.Data` with the split.
            split: "train", "valid" or "test".
            stage: "mtl" or "dae" = with the correction.
        """
        self.settings, self.record, self.gsd = settings, data.record, data.gsd
        self.split, self.stage = split, stage
        self.tiles = data.tiles[split]
        self.folder = output_folder(settings, f"{split}_{stage}")
        self.stored = stored_stage(settings, "mtl")
        self.mean = SplitMetrics(self.record.class_names, self.record.building_index)
        self.drawn, self.pictures = set(), None
        remove_earlier(self.folder)
        if split == "test":
            for name in RASTERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self.drawn = {t.name for t in evenly_spaced(self.tiles, settings.options.figures)}
            self.pictures = TilePictures(self.tiles, self.record, self.gsd)

    def run(self, predict, replicas):
        """Predicts and measures all tiles; returns their `SplitMetrics`."""
        settings = self.settings
        batch = settings.batch_windows * replicas

        def maps(image):
            return predict_maps(image, predict, settings.window_size, settings.overlap, batch)

        return evaluate_tiles(
            self.tiles,
            tile_reader(self.record),
            maps,
            self.record,
            self.add,
            self.split,
            partial(true_normals, gsd=self.gsd, coding=settings.normal_coding),
        )

    def add(self, tile, sample, maps, values):
        """Takes one tile into the yardstick and writes its files."""
        majority = self.stored.majority_class
        baseline = TileMaps(
            tile.name,
            sample["heights"],
            np.full_like(sample["heights"], self.stored.training_mean_height),
            sample["valid"],
            sample["classes"],
            None if majority is None else np.full_like(sample["classes"], majority),
        )
        self.mean.add(baseline)
        if self.split == "test":
            self.write_rasters(tile, maps, sample["has_image"])
            self.pictures.add(tile, sample, maps, values)
        if tile.name in self.drawn:
            self.draw(tile, sample, maps)

    def write_rasters(self, tile, maps, has_image):
        """Writes the predicted heights, and classes where there are any, on the tile's grid.

        Args:
            tile: `datasets.tiles.folders.Tile`.
            maps: dict of `prediction.tiles.predict_maps`.
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
            pixels.astype(layer.dtype),
            grid,
            layer.nodata,
            description="class",
            colours=layer.colours,
        )

    def draw(self, tile, sample, maps):
        """Writes the figure of one tile."""
        path = self.folder / "figures" / f"{tile.name}.png"
        title = f"{self.record.name}, {tile.name}"
        tile_figure(path, sample, maps, self.record.class_names, title, self.gsd)

    def report(self, metrics, seconds):
        """Writes metrics.json and per_tile.csv and prints the table.

        Args:
            metrics: `SplitMetrics` of the network.
            seconds: float, of the evaluation.

        Returns:
            dict of the table's column titles to dicts with the keys of metrics.json.
        """
        measured, mean = metrics.result(), self.mean.result()
        intervals = metrics.intervals()
        extra = {
            "intervals": intervals,
            "seconds": seconds,
            "training_mean": {"height": self.stored.training_mean_height, **mean},
            "settings": computed_settings(self.settings),
            "encoder_weights": self.stored.encoder_weights,
        }
        write_json(self.folder / "metrics.json", measured | extra)
        write_rows(self.folder / "per_tile.csv", metrics.rows)
        title = {"mtl": "MTL", "dae": "MTL + DAE"}[self.stage]
        print(f"\n{self.record.name}, {self.split} split, {len(self.tiles)} tiles:")
        beside = {"training mean": mean} | stored_yardstick(self.settings, self.split, measured)
        columns = {title: measured | extra} | beside
        print(metrics_table(columns))
        if intervals:
            print(f"\n{intervals_table(intervals)}")
        print(f"Written to {self.folder}")
        return columns


def remove_earlier(folder):
    """Removes what an earlier evaluation wrote; files of other names stay.

    The measures go first: a process that is killed leaves none beside rasters of another network.

    Args:
        folder: `Path` of the evaluation.
    """
    for name in WRITTEN:
        (folder / name).unlink(missing_ok=True)
    for name, ending in RASTERS.items():
        for path in (folder / name).glob(f"*{ending}"):
            path.unlink()


def stored_yardstick(settings, split, measured):
    """Returns what benchmarks/yardstick.py has measured on the same tiles, as a table column.

    Args:
        settings: `settings.loading.Settings`.
        split: "train", "valid" or "test".
        measured: dict with the keys of metrics.json, of the network.

    Returns:
        dict of "boosting" to the content of its metrics.json; {} if there is none, or of another
        number of tiles or pixels.
    """
    path = output_folder(settings, f"yardstick_{split}") / "metrics.json"
    if not path.is_file():
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        print(f"warning: {path} is damaged and left out.")
        return {}
    same = all(stored.get(name) == measured[name] for name in ("tiles", "valid_pixels"))
    return {"boosting": stored} if same else {}
