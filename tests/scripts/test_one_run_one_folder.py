"""Two processes do not train in one folder, wherever they run."""

import contextlib
import threading
import time
from dataclasses import replace

import pytest

import train_mtl
from project.lease import acquire, beside, this_process

NETWORK = ["--backbone=tiny", "--decoder_width=0.02", "--sem_flag=false", "--norm_flag=false"]
LENGTH = ["--crop_size=32", "--batch_size=2", "--samples_per_epoch=4"]  # an epoch of 2 steps


@pytest.fixture
def train(blocks, tmp_path):
    """Returns a function (options) that calls train_mtl.py."""
    run = ["--dataset_name=blocks", f"--shortcut_path={blocks}", *NETWORK, *LENGTH]
    run += [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    return lambda *options: train_mtl.main([*run, *options])


def held(folder, **changes):
    """Holds a folder's lease as a process of these attributes."""
    me = replace(this_process(), **changes)
    return acquire(beside(folder), f"{folder} is in use", interval=0.05, me=me)


@pytest.mark.parametrize("folder", ["ck/blocks/mtl", "out/blocks/mtl"])
def test_a_folder_in_use_is_refused_before_anything_is_done(train, tmp_path, folder):
    with held(tmp_path / folder), pytest.raises(SystemExit) as refused:
        train("--mtl_steps=2")
    assert f"{tmp_path / folder} is in use by process" in refused.value.code
    assert not list((tmp_path / "out" / "blocks").glob("checks"))  # of the data, after this


def test_a_run_that_is_to_be_resumed_must_not_be_in_use(train, tmp_path):
    (tmp_path / "other" / "mtl").mkdir(parents=True)
    with held(tmp_path / "other" / "mtl"), pytest.raises(SystemExit) as refused:
        train("--mtl_steps=2", f"--resume={tmp_path / 'other' / 'mtl'}")
    assert "other/mtl is in use by process" in refused.value.code


@pytest.mark.parametrize("folder", ["ck/blocks/mtl", "other/mtl"])
def test_a_run_on_another_machine_is_watched_and_refused(train, tmp_path, capsys, folder):
    (tmp_path / "other" / "mtl").mkdir(parents=True)
    resume = [f"--resume={tmp_path / folder}"] if folder.startswith("other") else []
    with held(tmp_path / folder, host="node2", boot="another"):
        with pytest.raises(SystemExit, match="mtl is in use by process .* on node2"):
            train("--mtl_steps=2", *resume)
        assert f"{folder} is in use by process" in capsys.readouterr().out
        files = {path.name for path in (tmp_path / "ck" / "blocks").glob("*")}
        assert files <= {".mtl.lease"}


def test_a_run_whose_folder_another_has_taken_over_writes_no_more(train, tmp_path):
    folder = tmp_path / "ck" / "blocks" / "mtl"

    def rob():
        while not list((folder / "last").glob("*")):
            time.sleep(0.01)
        other = replace(this_process(), host="node2", pid=7)
        with contextlib.suppress(FileNotFoundError):
            beside(folder).write_bytes(other.content(0))

    robber = threading.Thread(target=rob)
    robber.start()
    with pytest.raises(SystemExit, match="mtl is in use by process 7 on node2 .* now"):
        train("--mtl_steps=400")
    robber.join()
    assert beside(folder).exists()  # it is the other's
