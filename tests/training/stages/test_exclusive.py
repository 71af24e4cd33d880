from types import SimpleNamespace

import pytest
import tensorflow as tf

from devices.workers import WorkersError
from project.lease import HeldError, LeaseError, held_folders
from settings.loading import load
from training.stages import exclusive
from training.stages.exclusive import exclusive_folders


@pytest.fixture
def run(tmp_path):
    """Returns what `exclusive_folders` needs of a `StageRun`."""
    folders = {"folder": tmp_path / "ck" / "mtl", "results": tmp_path / "out" / "mtl"}
    strategy, settings = tf.distribute.get_strategy(), load("", [])
    return SimpleNamespace(strategy=strategy, settings=settings, is_chief=True, **folders)


def test_a_run_holds_both_of_its_folders_until_it_ends(run, tmp_path):
    with exclusive_folders(run) as check:
        check()
        for folder in (run.folder, run.results):
            with pytest.raises(HeldError, match="mtl is in use"), held_folders(folder):
                pass
        (tmp_path / "out" / ".mtl.lease").unlink()
        with pytest.raises(LeaseError, match="out/.mtl.lease is gone"):
            check()
    assert not list(tmp_path.rglob("*.lease"))


def test_the_other_workers_are_told_in_words(run, monkeypatch):
    run.is_chief = False
    with exclusive_folders(run) as check:
        check()
    assert not run.folder.parent.exists()
    monkeypatch.setattr(exclusive, "any_worker", lambda *_: [True])
    with pytest.raises(WorkersError, match="The chief cannot have .*; its error says which"):
        with exclusive_folders(run):
            pass
