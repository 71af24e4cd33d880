"""What cannot work is said before TensorFlow is loaded; Ctrl-C while it loads is no traceback."""

import hashlib
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from datasets.demo.data_set import make_demo
from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster

ROOT = Path(__file__).parents[2]
# Both stages, trained on "blocks" without classes and normals.
TRAINED = ROOT / "tests" / "runs" / "data" / "written_by_71a477f.tar.xz"
DEFAULT = "signal.signal(signal.SIGINT, signal.default_int_handler)"
# Runs a script and presses Ctrl-C while a library is imported.
INTERRUPTED = """
import os, runpy, signal, sys, threading, time
script, library, *arguments = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
def press():
    while library not in sys.modules:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
sys.argv = [script, *arguments]
if script.endswith(".py"):
    sys.path.insert(0, os.path.dirname(script))
    runpy.run_path(script, run_name="__main__")
runpy.run_module(script, run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns the folder of checkpoints of a trained network."""
    folder = tmp_path_factory.mktemp("trained")
    with tarfile.open(TRAINED) as archive:
        archive.extractall(folder / "blocks", filter="data")
    return folder


@pytest.fixture
def refusal(trained, blocks, tmp_path):
    """Returns a function (script, arguments) -> the one line with which the script ends."""

    def run(script, *arguments):
        given = {"dataset_name": "blocks", "checkpoint_dir": trained, "output_dir": tmp_path}
        given |= {"shortcut_path": blocks}
        named = [argument.partition("=")[0] for argument in arguments]
        more = [f"--{name}={text}" for name, text in given.items() if f"--{name}" not in named]
        command = [sys.executable, "-X", "importtime", ROOT / script, *arguments, *more]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        assert done.returncode in (1, 2) and "tensorflow" not in done.stderr, lines
        return "\n".join(lines)

    return run


@pytest.fixture
def photos(tmp_path):
    """Returns a folder with two photos."""
    for name in "ab":
        pixels = np.random.default_rng(ord(name)).integers(0, 255, (40, 40, 3)).astype("uint8")
        write_raster(tmp_path / "photos" / f"{name}.tif", pixels, Grid(40, 40, None, ""))
    return tmp_path / "photos"


def test_a_pattern_that_the_shell_expands_replaces_no_photo(refusal, photos):
    before = [hashlib.sha256(path.read_bytes()).digest() for path in sorted(photos.iterdir())]
    told = refusal("predict.py", *map(str, sorted(photos.iterdir())))
    assert told.startswith("error: ") and "b.tif is there already" in told and "in quotes" in told
    more = refusal("predict.py", *map(str, sorted(photos.iterdir())), "c.tif", "d.tif")
    assert "unrecognized arguments: c.tif d.tif" in more and "in quotes" in more
    after = [hashlib.sha256(path.read_bytes()).digest() for path in sorted(photos.iterdir())]
    assert before == after


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--outputs=classes"], "no semantic decoder"),
        (["--sar=radar.tif"], "trained without radar"),
        (["--match_gsd=true"], "a.tif has no georeference"),
        (["--correction=true", "--checkpoint_dir=one"], "no trained weights at one/blocks/dae"),
    ],
)
def test_predict_says_early_what_cannot_be(refusal, photos, trained, tmp_path, options, message):
    (tmp_path / "one" / "blocks").mkdir(parents=True)
    (tmp_path / "one" / "blocks" / "mtl").symlink_to(trained / "blocks" / "mtl")
    assert message in refusal("predict.py", str(photos / "a.tif"), "h.tif", *options)


def test_photos_that_are_unfit_are_all_named(refusal, photos):
    write_raster(photos / "a.tif", np.zeros((4, 4), "uint8"), Grid(4, 4, None, ""))
    (photos / "b.tif").write_text("no raster")
    told = refusal("predict.py", str(photos), "heights")
    assert "2 of 2 scenes failed" in told and "a.tif" in told and "b.tif: GDAL cannot open" in told


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("test_dsm.py", ["--checkpoint_dir=none"], "no trained weights at none/blocks/mtl"),
        ("test_dsm.py", ["--output_dir=others"], "test_dae holds files, but no metrics.json"),
        ("train_dae.py", ["--checkpoint_dir=none"], "Run train_mtl.py"),
        ("train_mtl.py", ["--crop_size=128"], "4 of 4 .* smaller than crop_size=128"),
        ("train_mtl.py", ["--dataset_name=Demo", "--shortcut_path=."], "1 of 1 .* smaller than"),
        ("train_mtl.py", ["--output_dir=a_file"], "a_file is not a folder"),
        ("train_mtl.py", ["--initial_weights=absent"], "initial_weights.*there is no such file"),
        (
            "train_mtl.py",
            ["--initial_weights=trained/blocks/mtl/best.weights.h5"],
            "of another network, backbone is tiny there and densenet121 here",
        ),
        ("export.py", ["others"], "others already exists"),
        ("export.py", ["a_file/new"], "a_file is not a folder"),
        ("check_data.py", ["--output_dir=others"], "check holds files, but no check.json"),
    ],
)
def test_other_scripts_say_early_what_cannot_be(
    refusal, trained, tmp_path, script, options, message
):
    (tmp_path / "a_file").touch()
    (tmp_path / "trained").symlink_to(trained)
    for name in ("test_dae", "check"):
        (tmp_path / "others" / "blocks" / name).mkdir(parents=True)
        (tmp_path / "others" / "blocks" / name / "notes.txt").touch()
    make_demo(tmp_path / "Demo", tile_size=32, counts=(1, 1, 0))
    told = refusal(script, *options)
    assert re.match(f"error: .*{message}", told)


@pytest.mark.parametrize(
    ("script", "library"), [("train_mtl.py", "tensorflow"), ("check_data.py", "osgeo.gdal")]
)
def test_ctrl_c_while_starting_ends_in_one_line(blocks, tmp_path, script, library):
    options = [f"--shortcut_path={blocks}", "--dataset_name=blocks", f"--output_dir={tmp_path}"]
    command = [sys.executable, "-c", INTERRUPTED, str(ROOT / script), library, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=90)
    assert (done.returncode, done.stdout, done.stderr) == (130, "\nInterrupted.\n", "")


@pytest.mark.parametrize("module", ["datasets.prepare", "datasets.demo"])
def test_ctrl_c_while_a_module_starts_ends_in_one_line(module):
    command = [sys.executable, "-c", INTERRUPTED, module, "numpy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=90)
    assert (done.returncode, done.stdout, done.stderr) == (130, "\nInterrupted.\n", "")


@pytest.mark.parametrize("echoes", [0, 1])
def test_ctrl_c_while_work_imports_something_lets_it_clean_up(tmp_path, echoes):
    """Even if it comes a second time: from the terminal, and from a script that passes it on."""
    press = "os.kill(os.getpid(), signal.SIGINT)"
    (tmp_path / "slow.py").write_text(f"import os, signal; {press}\n")
    (tmp_path / "work.py").write_text(
        "import os, signal\ndef draw():\n    try:\n        import slow\n    finally:\n"
        f"        for _ in range({echoes}):\n            {press}\n        print('cleaned up')\n"
    )
    script = f"import sys; sys.path.append({str(tmp_path)!r}); import project.interrupts, work"
    command = [sys.executable, "-c", f"import signal; {DEFAULT}; {script}; work.draw()"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=90)
    assert done.stdout == "cleaned up\n\nInterrupted.\n" and done.returncode == 130
