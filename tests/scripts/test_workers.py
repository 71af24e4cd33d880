"""Several workers that train together, in processes, as run_multi_worker.sh starts them."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train_mtl
from devices.workers import WorkersError, find_cluster

ROOT = Path(__file__).parents[2]
NETWORK = ["--backbone=tiny", "--decoder_width=0.02", "--encoder_batch_norm=frozen"]
NETWORK += ["--sem_flag=false", "--norm_flag=false"]
LENGTH = ["--mtl_steps=12", "--samples_per_epoch=8", "--ema_decay=0.5"]  # an epoch of 2 steps


def command(blocks, folder, *options):
    places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
    return [sys.executable, str(ROOT / "train_mtl.py"), *data, *places, *NETWORK, *options]


def workers(count, *arguments):
    return [str(ROOT / "run_multi_worker.sh"), str(count), *arguments]


def losses(folder):
    path = folder / "out" / "blocks" / "mtl" / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def run(command, folder):
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def alone(blocks, tmp_path_factory):
    """Returns the losses of one process on one device."""
    folder = tmp_path_factory.mktemp("alone")
    ended = run(command(blocks, folder, *LENGTH, "--batch_size=4"), folder)
    assert ended.returncode == 0, ended.stderr
    assert len(losses(folder)) == 12
    return losses(folder)


def test_workers_train_like_one_process(blocks, tmp_path, alone):
    together = tmp_path / "workers"
    ended = run(workers(2, *command(blocks, together, *LENGTH, "--batch_size=2")), together)
    assert ended.returncode == 0, ended.stderr
    assert losses(together) == pytest.approx(alone, rel=1e-5)
    assert "2 replicas, worker 0 of 2" in ended.stdout
    # Only the chief writes, and only the chief is shown; it validates after each of 6 epochs.
    names = {path.name for path in (together / "ck" / "blocks" / "mtl").iterdir()}
    assert names == {"last", "best.weights.h5", "settings.json"}
    assert len(list((together / "out" / "blocks" / "mtl" / "tensorboard").iterdir())) == 1
    assert ended.stdout.count("valid rmse") + ended.stderr.count("valid rmse") == 6
    logs = {path.name for path in (together / "worker_logs").iterdir()}
    assert logs == {"worker_1.log"}


def test_a_killed_worker_ends_the_others_and_any_number_resumes(blocks, tmp_path, alone):
    killed = tmp_path / "killed"
    killed.mkdir()
    script = subprocess.Popen(
        workers(2, *command(blocks, killed, *LENGTH, "--batch_size=2")),
        cwd=killed,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(losses(killed)) < 5:
        assert script.poll() is None
        time.sleep(0.05)
    children = subprocess.run(["pgrep", "-P", str(script.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[1]), signal.SIGKILL)
    _, errors = script.communicate(timeout=60)
    assert script.returncode == 128 + signal.SIGKILL
    assert "worker 1 ended with status 137" in errors
    assert len(losses(killed)) < 12
    again = run(command(blocks, killed, *LENGTH, "--batch_size=4"), killed)
    assert again.returncode == 0 and "Continuing" in again.stdout, again.stderr
    assert losses(killed) == pytest.approx(alone, rel=1e-4)


def test_the_first_failure_is_returned(tmp_path):
    ended = run(workers(2, "bash", "-c", 'grep -q "index.: 0" <<<"$TF_CONFIG" || exit 7'), tmp_path)
    assert ended.returncode == 7
    assert "worker 1 ended with status 7; see worker_logs/worker_1.log" in ended.stderr


def test_each_worker_gets_its_place_and_the_port_that_was_asked_for(tmp_path):
    ended = run(workers(2, "--port=23456", "bash", "-c", 'echo "$TF_CONFIG"'), tmp_path)
    places = [
        json.loads(ended.stdout),
        json.loads((tmp_path / "worker_logs/worker_1.log").read_text()),
    ]
    addresses = ["localhost:23456", "localhost:23457"]
    assert [place["cluster"] for place in places] == [{"worker": addresses}] * 2
    assert [place["task"] for place in places] == [{"type": "worker", "index": n} for n in (0, 1)]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "the number of workers is ''"),
        (["0", "true"], "expected 1 or more"),
        (["2"], "the command is missing"),
        (["2", "--port=80", "true"], "the port is '80'"),
    ],
)
def test_wrong_use_is_explained(tmp_path, arguments, words):
    ended = run([str(ROOT / "run_multi_worker.sh"), *arguments], tmp_path)
    assert ended.returncode == 2 and words in ended.stderr


@pytest.mark.parametrize(
    "cluster, options, words",
    [
        ("{", [], "TF_CONFIG cannot be read"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', [], "expected workers alone"),
        (
            '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, '
            '"task": {"type": "chief", "index": 0}}',
            [],
            "makes this process chief 0; expected workers alone",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}',
            ["--gradient_reduction=reduction_to_one_device"],
            "which several workers on CPUs cannot use",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}',
            ["--cpu_replicas=2"],
            "gives each worker of a cluster one CPU device",
        ),
    ],
)
def test_a_wrong_cluster_is_an_error_line(blocks, tmp_path, monkeypatch, cluster, options, words):
    monkeypatch.setenv("TF_CONFIG", cluster)
    _, _, *arguments = command(blocks, tmp_path, *options)
    with pytest.raises(SystemExit, match=f"^error: .*{words}"):
        train_mtl.main(arguments)


def test_workers_with_unlike_settings_are_refused(blocks, tmp_path):
    one = " ".join(command(blocks, tmp_path, "--mtl_steps=2"))
    other = f"{one} --early_stopping_patience=1"
    script = f'grep -q "index.: 1" <<<"$TF_CONFIG" && exec {other}; exec {one}'
    ended = run(workers(2, "bash", "-c", script), tmp_path)
    assert ended.returncode == 1
    assert "Another worker has other settings or training tiles than the chief" in ended.stderr
    log = (tmp_path / "worker_logs" / "worker_1.log").read_text()
    assert "Worker 1 of 2 has other settings or training tiles than the chief" in log


def test_slurm_variables_make_the_cluster(monkeypatch):
    names = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}
    names |= {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    names |= {"SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1", "SLURM_LOCALID": "0"}
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    resolver = find_cluster()
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    assert len(resolver.cluster_spec().as_dict()["worker"]) == 2
    monkeypatch.delenv("SLURM_PROCID")
    with pytest.raises(WorkersError, match="What Slurm says of the cluster cannot be read"):
        find_cluster()
