"""Every data set of the catalogue: published files, prepared, checked, trained on and tested.

Each is trained on once: after `datasets.prepare` where that knows its download, else in the
standard layout; DFC2018 in both, since its terrain is subtracted while preparing or while reading.
"""

import json

import numpy as np
import pytest

import check_data as check
import test_dsm
import train_mtl
from datasets.catalogue import CATALOGUE
from datasets.checks import inspection
from datasets.demo.data_set import make_demo
from datasets.prepare import __main__ as prepare
from datasets.rasters.reading import read_raster
from datasets.records.record import find_record
from datasets.tiles.folders import list_tiles
from datasets.tiles.samples import read_tile_window, tile_grid
from tests.published_files import write_standard
from tests.published_forms import FORMS

PREPARED = [name for name, form in FORMS.items() if form.download]
TRAINED_AS_PUBLISHED = {name for name in FORMS if name not in PREPARED} | {"DFC2018"}
NETWORK = ["--backbone=tiny", "--decoder_width=0.02", "--crop_size=32", "--batch_size=2"]
NETWORK += ["--mtl_steps=2", "--dropout=0"]
TEST = ["--overlap=0", "--figures=0", "--batch_windows=32"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns a function (main of a script, name of a data set in tmp_path, options)."""
    monkeypatch.setattr(inspection, "MOST_DRAWN", 1)  # contact sheets are what takes longest
    places = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    places.append(f"--shortcut_path={tmp_path}")
    return lambda main, name, *options: main([f"--dataset_name={name}", *places, *options])


@pytest.fixture
def train_and_test(run, tmp_path):
    """Returns a function (name, options) -> metrics.json after two steps of training."""

    def train_and_test(name, *options):
        run(train_mtl.main, name, *NETWORK, *options)
        run(test_dsm.main, name, *TEST)
        return json.loads((tmp_path / "out" / name / "test_mtl" / "metrics.json").read_text())

    return train_and_test


def assert_known_heights(metrics, form):
    """Heights of training and test are metres: their mean, and its error, are known."""
    baseline = metrics["training_mean"]
    assert baseline["height"] == pytest.approx(form.mean, rel=1e-5)
    assert baseline["pooled"]["rmse"] == pytest.approx(form.spread, rel=1e-5)
    assert metrics["rmse"] > 0


def checked(run, tmp_path, name, form):
    """Checks a data set, which must be usable; returns dict of split to what was found."""
    options = ["--sar_mode=fusion"] if form.radar else []
    assert run(check.main, name, "--crop_size=32", *options) == 0
    report = json.loads((tmp_path / "out" / name / "check" / "check.json").read_text())
    assert not any(report["suspicions"].values()), report["suspicions"]
    return report["splits"]


def assert_facts(form, splits, tiles, dtypes):
    """What the check found is what the generator of the files knows."""
    assert [facts["tiles"] for facts in splits.values()] == tiles
    for split, facts in splits.items():
        found = {kind: list(types) for kind, types in facts["dtypes"].items()}
        assert found == {kind: [dtypes[kind]] for kind in found}
        assert facts["gsd"] == pytest.approx(form.gsd)
        assert (facts["lowest"], facts["highest"]) == (pytest.approx(0, abs=1e-4), 12)
        assert facts["mean"] == pytest.approx(form.mean, rel=1e-5)
        assert facts["nodata_share"] == pytest.approx(form.nodata_share)
        if facts["class_shares"] or split == "train":
            assert facts["class_shares"] == pytest.approx(form.class_shares)
    assert set(splits["train"]["dtypes"]) == set(dtypes)


def assert_whole_brightness(name, folder):
    """The photo of the first training tile uses all of 0-255."""
    record = find_record(name, folder)
    tile = list_tiles(record, "train")[0]
    grid = tile_grid(tile, record)
    image = read_tile_window(tile, record, 0, 0, grid.rows, grid.columns)["image"]
    assert (image.min(), image.max()) == (0, pytest.approx(255))


def test_every_entry_of_the_catalogue_has_a_form():
    assert {*FORMS, "Demo"} == set(CATALOGUE)


@pytest.mark.parametrize("name", FORMS)
def test_files_as_published_are_read_by_the_record(name, run, tmp_path, train_and_test):
    form = FORMS[name]
    write_standard(tmp_path / name, form)
    dtypes = {"rgb": "uint8" if form.brightest < 256 else "uint16", "dsm": form.heights}
    dtypes |= {"sem": "uint8"} if form.classes else {}
    dtypes |= {"dem": form.heights} if form.terrain else {}
    dtypes |= {"sar": "uint8"} if form.radar else {}
    counts = [len(names) for names in form.names.values()]
    assert_facts(form, checked(run, tmp_path, name, form), counts, dtypes)
    assert_whole_brightness(name, tmp_path)
    if name in TRAINED_AS_PUBLISHED:
        assert_known_heights(train_and_test(name), form)


@pytest.mark.parametrize("name", PREPARED)
def test_downloads_are_prepared_and_ready_to_train(name, run, tmp_path, train_and_test):
    form = FORMS[name]
    form.download(tmp_path / "download", form)
    command, *options = form.options
    places = [f"--source={tmp_path / 'download'}", f"--folder={tmp_path / name}"]
    assert prepare.main([command, *places, *options]) == 0
    dtypes = {"rgb": "uint8", "dsm": "float32", "sem": "uint16"}
    dtypes |= {"sar": "uint8"} if form.radar else {}
    assert_facts(form, checked(run, tmp_path, name, form), list(form.prepared), dtypes)
    radar = ["--sar_mode=fusion"] if form.radar else []
    assert_known_heights(train_and_test(name, *radar), form)


def test_demo(run, tmp_path, train_and_test):
    make_demo(tmp_path / "Demo", 64, (2, 1, 1))
    heights = {
        split: np.stack(
            [read_raster(p).pixels for p in sorted(tmp_path.glob(f"Demo/{split}/dsm/*"))]
        )
        for split in ("train", "test")
    }
    mean = heights["train"].mean(dtype="float64")
    assert run(check.main, "Demo", "--crop_size=32") == 0
    baseline = train_and_test("Demo")["training_mean"]
    assert baseline["height"] == pytest.approx(mean, rel=1e-5)
    rmse = np.sqrt(((heights["test"] - mean) ** 2).mean(dtype="float64"))
    assert baseline["pooled"]["rmse"] == pytest.approx(rmse, rel=1e-5)
