"""Writes tiny files in the forms in which data sets are published.

All tiles of a data set have the same heights and labels, so that tests can work out what they
expect without reading a file: the lower right quarter is building, 12 m high, and the rest lies at
0 m, except for rows at the top that have no height. `form` is a `published_forms.Form`.
"""

import json
from dataclasses import replace

import cv2
import numpy as np

from datasets.catalogue import CATALOGUE
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster

ROOF = 12.0  # metres
TERRAIN = 40.0  # metres above the sea


def class_map(form):
    """Returns int (size, size): place of each pixel's code in `form.classes`, -1 = unlabelled.

    No two classes besides the buildings have the same share, so that a swapped code is noticed.
    """
    codes = list(form.classes)
    inside = [i for i, code in enumerate(codes) if code in form.buildings]
    outside = [i for i, code in enumerate(codes) if code not in form.buildings]
    built = metres(form) > 0
    found = np.empty(built.shape, int)
    for part, indices in ((~built, outside), (built, inside)):
        found[part] = np.resize(np.repeat(indices, np.arange(len(indices)) + 1), part.sum())
    if form.unlabelled is not None:
        found[-1] = -1
    return found


def label_codes(form):
    """Returns uint8 (size, size) of codes, or (size, size, 3) of colours."""
    codes = [*form.classes, *(() if form.unlabelled is None else (form.unlabelled,))]
    return np.array(codes, "uint8")[class_map(form)]


def metres(form):
    """Returns float64 (size, size), metres above ground."""
    found = np.zeros((form.size, form.size))
    found[form.size // 2 :, form.size // 2 :] = ROOF
    return found


def layers(form, seed=0, repeat=1):
    """Returns dict of kind to the pixels of `repeat` x `repeat` tiles; the seed is the photo's."""
    stored = (metres(form) + TERRAIN * form.terrain) / form.unit
    stored[: len(form.gaps)] = np.reshape(form.gaps, (-1, 1))
    built = np.tile(metres(form) > 0, (repeat, repeat))[..., None]
    dark = np.random.default_rng(seed).integers(20, 90, (*built.shape[:2], 3))
    photo = (dark + 100 * built) * (form.brightest // 255)
    photo[0, :2] = [[0], [form.brightest]]
    found = {"dsm": stored.round(3).astype(form.heights)}
    if form.terrain:
        found["dem"] = np.full_like(found["dsm"], TERRAIN)
        found["dem"][len(form.gaps)] = -9999
    if form.classes:
        found["sem"] = label_codes(form)
    found = {k: np.tile(v, (repeat, repeat) + (1,) * (v.ndim - 2)) for k, v in found.items()}
    if form.radar:
        found["sar"] = photo[..., 1].astype("uint8")
    return found | {"rgb": photo.astype("uint8" if form.brightest < 256 else "uint16")}


def save(path, pixels, place=None, epsg=None, nodata=None):
    """Writes an image; its name tells the format. The folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        projection = projection_wkt(epsg) if epsg else ""
        write_raster(path, pixels, Grid(*pixels.shape[:2], place, projection), nodata)
    else:  # of the best quality: blocks of one height stay what they are in JPEG
        bands = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        assert cv2.imwrite(str(path), bands, [cv2.IMWRITE_JPEG_QUALITY, 100])
    return path


def write_standard(folder, form):
    """Writes a data set in the standard layout with the files as they are published."""
    numbers = iter(range(100))
    for split, names in form.names.items():
        for name in names:
            for kind, pixels in layers(form, next(numbers)).items():
                around = [(form.frame,) * 2] * 2 + [(0, 0)] * (pixels.ndim - 2)
                framed = np.pad(pixels, around, constant_values=90)
                save(folder / split / kind / f"{name}.{form.endings.get(kind, 'tif')}", framed)
    if form.toml:
        (folder / "dataset.toml").write_text(form.toml)
    return folder


def official_names(name):
    """Returns the names of all tiles of a data set of the catalogue."""
    return [tile for tiles in CATALOGUE[name]["splits"].values() for tile in tiles]


def vaihingen(root, form, width=64):
    """Writes the four downloads of Vaihingen, unpacked; photos of `width` pixels."""
    hidden = CATALOGUE["Vaihingen"]["splits"]["test"]
    for name in official_names("Vaihingen"):
        number = name.rsplit("area", 1)[1]
        of = layers(form, int(number), width // form.size)
        heights = f"dsm_09cm_matching_area{number}"
        save(root / f"a/top/{name}.tif", of["rgb"])
        save(root / f"a/dsm/{heights}.tif", np.full_like(of["dsm"], 280, "float32"))
        if name not in hidden:
            save(root / f"a/gts_for_participants/{name}.tif", of["sem"])
        save(root / f"b/{name}.tif", of["sem"])
        save(root / f"b/{name}_noBoundary.tif", of["sem"] * 0)
        save(root / f"c/{heights}_normalized.jpg", of["dsm"])
        (root / "d").mkdir(exist_ok=True)
        numbers = f"0.09\n0\n0\n-0.09\n{int(number)}00.045\n4999999.955\n"
        (root / f"d/{heights}.tfw").write_text(numbers)
    return root


def houston(root, form, width=64):
    """Writes DFC2018: photos of 0.05 m, heights and codes of 0.5 m, of which `width` make one."""
    west, south, metres_wide = 271460.0, 3289689.0, 0.5 * width  # 596 m in truth
    # The third row without data of heights above ground comes from the terrain here.
    apart, repeat = replace(form, gaps=form.gaps[:2], terrain=True), width // form.size
    for name in official_names("DFC2018"):
        x, y = (int(part) for part in name.split("_")[2:])
        left, top = west + (x - 271460) // 596 * metres_wide, south + metres_wide
        place = (left, 0.05, 0.0, top + metres_wide * (y > south), 0.0, -0.05)
        photo = layers(form, x + y, repeat)["rgb"].repeat(10, axis=0).repeat(10, axis=1)
        save(root / f"FinalRGBHRImagery/{name}.tif", photo, place, 26915)
    of = layers(apart, repeat=repeat)
    surface, terrain = (np.tile(of[kind], (2, 7)) for kind in ("dsm", "dem"))
    lidar = root / "Lidar GeoTiff Rasters"
    place = (west, 0.5, 0.0, south + 2 * metres_wide, 0.0, -0.5)
    save(lidar / "DSM_C12/UH17c_GEF051.tif", surface, place, 26915)
    save(lidar / "DEM_C123_TLI/UH17_GEG05.tif", terrain, place, 26915)
    save(lidar / "DEM+B_C123/UH17_GEM051.tif", terrain * 0, place, 26915)
    place = (west + metres_wide, 0.5, 0.0, south + metres_wide, 0.0, -0.5)  # train and valid
    codes = np.tile(of["sem"], (1, 4))
    save(root / "TrainingGT/2018_IEEE_GRSS_DFC_GT_TR.tif", codes, place, 26915)
    return root


def us3d(root, form, places=4, images=1, width=512):
    """Writes DFC2019 track 1: images of `width` pixels."""
    for n in range(places):
        for image in range(images):
            name = f"{'JAX' if n % 2 else 'OMA'}_{n:03d}_{image:03d}"
            of = layers(form, 100 * n + image, width // form.size)
            truth = root / "Train-Track1-Truth/Track1-Truth"
            save(root / f"Train-Track1-RGB/Track1-RGB/{name}_RGB.tif", of["rgb"])
            save(truth / f"{name}_AGL.tif", of["dsm"])
            save(truth / f"{name}_CLS.tif", of["sem"])
    return root


def cities(root, form, satellite="SV"):
    """Writes DFC2023 track 2: three towns of images about 300 m apart, and their footprints."""
    images, annotations = [], []
    size, half = form.size, form.size // 2
    polygon = [[half, half, size, half, size, size, half, size]]
    runs = {"size": [size, size], "counts": [half * size + half, *(half,) * (2 * half - 1)]}
    for town, (latitude, count) in {"A": (10.0, 4), "B": (-20.0, 2), "C": (55.0, 2)}.items():
        for n in range(count):
            name = f"{satellite}_{town}_{latitude + n * 0.0027:.4f}_{12.5:.4f}"
            for kind, pixels in layers(form, len(images)).items():
                if kind != "sem":
                    save(root / f"train/{kind}/{name}.tif", pixels)
            footprint = runs if n % 2 else polygon
            annotations.append({"image_id": len(images), "segmentation": footprint})
            images.append({"id": len(images), "file_name": f"{name}.tif"})
    save(root / "val/rgb/P_0199.tif", layers(form)["rgb"])
    content = {"images": images, "annotations": annotations}
    (root / "buildings_only_train.json").write_text(json.dumps(content))
    return root
