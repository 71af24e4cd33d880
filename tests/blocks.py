"""The small data set that tests train on: bright blocks on dark ground."""

from pathlib import Path

import numpy as np

from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster

RECORD = """
gsd = 0.5
crop_size = 32
batch_size = 2
building_code = 6
ignore_codes = [65]
classes = [{code = 2, name = "ground"}, {code = 6, name = "building"}]
"""


def write_blocks(folder: Path) -> None:
    """Writes the data set "blocks" into a folder: 4 train, 2 valid, 2 test tiles of 64 px."""
    generator = np.random.default_rng(7)
    for split, count in (("train", 4), ("valid", 2), ("test", 2)):
        for number in range(count):
            write_tile(folder / "blocks" / split, f"{split}_{number}", 64, generator)
    (folder / "blocks" / "dataset.toml").write_text(RECORD)


def write_tile(folder: Path, name: str, size: int, generator: np.random.Generator) -> None:
    """Writes one tile: bright blocks on dark ground, with nodata, unlabelled pixels and noise."""
    heights = np.zeros((size, size), "float32")
    row, column = generator.integers(0, size // 2, 2)
    heights[row : row + size // 3, column : column + size // 3] = generator.uniform(3, 20)
    codes = np.where(heights > 0, 6, 2).astype("uint8")
    codes[:2] = 65
    photo = np.where(heights > 0, 170, 70)[..., None] + generator.normal(0, 9, (size, size, 3))
    heights[-2:] = np.nan
    grid = Grid(size, size, (500000.0, 0.5, 0.0, 5.0e6, 0.0, -0.5), projection_wkt(32632))
    rasters = {"rgb": photo.clip(0, 255).astype("uint8"), "dsm": heights, "sem": codes}
    for kind, pixels in rasters.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_raster(folder / kind / f"{name}.tif", pixels, grid)
