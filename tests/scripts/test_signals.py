"""Signals through the shell scripts to what they run, with stand-ins; one run of the real thing."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.stopping import SIGNALS

ROOT = Path(__file__).parents[2]
HUP, INT, TERM, USR1 = SIGNALS
# Stands for Python in the scripts. The step that is named in WAITS waits for a signal: a training
# as the real one does, a test without a handler.
STAND_IN = f"""#!{sys.executable}
import hashlib, os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from commands.errors import clear_errors
from project import interrupts
from project.errors import Interrupted
from training.stopping import stop_requests
name = os.path.basename(sys.argv[1])
def log(text):
    with open("log", "a") as file:
        file.write(f"{{name}} {{text}}\\n")
if name != os.environ["WAITS"]:
    log("done")
elif name == "test_dsm.py":
    log("begun")
    time.sleep(600)
elif "HANGS" in os.environ:
    interrupts.ECHO_SECONDS = 0.1
    with stop_requests():
        log("begun")
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
with clear_errors(), stop_requests() as stop:
    if name == os.environ["WAITS"]:
        log("begun")
        while not stop:
            time.sleep(0.01)
        time.sleep(0.3)  # a save
        log("saved")
        raise Interrupted("Stopped.")
"""
# Starts a command with the signals as they are in a terminal, but for those to be ignored.
LAUNCHER = """
import fcntl, os, signal, sys, termios
for number in map(int, sys.argv[1].split(",")):
    signal.signal(number, signal.SIG_DFL)
for number in map(int, filter(None, sys.argv[2].split(","))):
    signal.signal(number, signal.SIG_IGN)
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Job:
    """A command in a session of its own, in a folder with a log."""

    def __init__(self, folder, *command, ignored=(), stdin=subprocess.DEVNULL, **environment):
        self.log = folder / "log"
        signals, ignored = (",".join(map(str, map(int, n))) for n in (SIGNALS, ignored))
        known = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "TF_CONFIG")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, signals, ignored, *map(str, command)],
            cwd=folder,
            env=known | environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def lines(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def wait_for(self, line, count=1):
        while self.lines().count(line) < count:
            assert self.process.poll() is None, self.process.stdout.read()
            time.sleep(0.01)

    def end(self):
        """Returns (status, output) at the end."""
        output, _ = self.process.communicate(timeout=300)
        return self.process.returncode, output


def to_script(job, number):
    job.process.send_signal(number)


def to_group(job, number):
    os.killpg(job.process.pid, number)


@pytest.fixture
def start(tmp_path):
    """Returns a function (options of `Job`) -> a `Job` in a folder of scripts and stand-ins."""
    for name in ("run_train_test.sh", "run_multi_worker.sh"):
        shutil.copy(ROOT / name, tmp_path)
    for name, text in {"setup.sh": "#!/bin/bash\n", ".venv/bin/python": STAND_IN}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    started = []

    def begin(*command, waits="train_mtl.py", **options):
        command = command or (tmp_path / "run_train_test.sh",)
        started.append(Job(tmp_path, *command, WAITS=waits, **options))
        return started[-1]

    yield begin
    for job in started:
        if job.process.poll() is None:
            to_group(job, signal.SIGKILL)
        job.process.communicate()


@pytest.mark.parametrize(
    "send, number",
    [(to_script, number) for number in SIGNALS] + [(to_group, INT), (to_group, TERM)],
)
def test_the_job_ends_with_the_state_of_its_training(start, send, number):
    job = start()
    job.wait_for("train_mtl.py begun")
    send(job, number)
    status, output = job.end()
    assert status == 75, output
    assert job.lines() == ["train_mtl.py begun", "train_mtl.py saved"]
    assert f"{number.name}: saving the state" in output and "at once. The" not in output


@pytest.mark.parametrize("send, number", [(to_script, USR1), (to_group, INT), (to_group, TERM)])
def test_all_workers_end_with_their_state(start, tmp_path, send, number):
    job = start(tmp_path / "run_train_test.sh", "--workers=2")
    job.wait_for("train_mtl.py begun", 2)
    send(job, number)
    status, output = job.end()
    assert status == 75 and "error" not in output, output
    assert job.lines() == ["train_mtl.py begun"] * 2 + ["train_mtl.py saved"] * 2


def test_a_step_that_fails_ends_the_job_with_its_status(start, tmp_path):
    (tmp_path / ".venv/bin/python").write_text('#!/bin/bash\necho "${1##*/}" >>log\nexit 3\n')
    job = start()
    assert job.end()[0] == 3 and job.lines() == ["train_mtl.py"]


def test_timeout_which_signals_the_script_and_its_group(start, tmp_path):
    job = start("timeout", "600", tmp_path / "run_train_test.sh")
    job.wait_for("train_mtl.py begun")
    to_script(job, TERM)
    assert job.end()[0] == 75 and job.lines()[-1] == "train_mtl.py saved"


def test_ctrl_c_in_a_terminal(start):
    here, there = os.openpty()
    job = start(stdin=there)
    job.wait_for("train_mtl.py begun")
    os.write(here, b"\x03")
    assert job.end()[0] == 75 and job.lines()[-1] == "train_mtl.py saved"
    os.close(here)
    os.close(there)


@pytest.mark.parametrize("options", [[], ["--workers=2"]])
def test_a_second_signal_ends_the_job_at_once(start, tmp_path, options):
    job = start(tmp_path / "run_train_test.sh", *options, HANGS="1")
    job.wait_for("train_mtl.py begun", 1 + len(options))
    to_script(job, TERM)
    time.sleep(0.5)
    assert job.process.poll() is None
    to_script(job, TERM)
    status, output = job.end()
    assert status == 128 + TERM and "stopped at once" in output and "Traceback" not in output


@pytest.mark.parametrize(
    "send, number", [(to_script, USR1), (to_script, INT), (to_group, TERM), (to_group, HUP)]
)
def test_a_test_ends_at_once_and_nothing_follows(start, send, number):
    job = start(waits="test_dsm.py")
    job.wait_for("test_dsm.py begun")
    send(job, number)
    status, output = job.end()
    assert status == 128 + number and "Traceback" not in output, output
    assert job.lines() == ["train_mtl.py done", "test_dsm.py begun"]


def test_what_nohup_or_the_background_ignores_stays_ignored(start):
    job = start(ignored=(HUP, INT))
    job.wait_for("train_mtl.py begun")
    for number in (HUP, INT):
        to_group(job, number)
    time.sleep(0.5)
    assert job.process.poll() is None
    to_script(job, TERM)
    assert job.end()[0] == 75


def test_both_trainings_of_a_job_share_its_time(start, tmp_path):
    show = f"#!{sys.executable}\nimport os\nprint(os.environ['DSMNET_JOB_STARTED'])\n"
    (tmp_path / ".venv/bin/python").write_text(show)
    begun = int(time.time())
    status, output = start(DSMNET_JOB_STARTED="1").end()
    shown = {int(line) for line in output.splitlines() if line.isdecimal()}
    assert status == 0 and len(shown) == 1 and begun <= shown.pop() <= begun + 1


@pytest.fixture
def slurm(tmp_path):
    """Returns a function (command) -> a `Job`: the batch script of the page, in a job of Slurm.

    Its `scontrol` only writes down with what it was called.
    """
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)
    (tmp_path / "train.sbatch").write_text(script)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "scontrol").write_text('#!/bin/bash\necho "$*" >>scontrol.log\n')
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    environment = {"SLURM_JOB_ID": "4711", "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    def submit(*command, **more):
        return Job(tmp_path, "bash", tmp_path / "train.sbatch", *command, **environment, **more)

    return submit


def requeued(folder):
    log = folder / "scontrol.log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize(
    "number, restarts, expected",
    [(USR1, "3", ["requeue 4711"]), (USR1, "50", []), (TERM, "3", [])],
)
def test_a_slurm_job_is_requeued_if_its_time_is_up_but_not_if_cancelled(
    slurm, tmp_path, number, restarts, expected
):
    # USR1 ends it as it ends a test or a training that starts, TERM as a training.
    wait = "trap 'exit 75' TERM; echo begun >>log; while true; do sleep 0.1; done"
    job = slurm("bash", "-c", wait, SLURM_RESTART_COUNT=restarts)
    job.wait_for("begun")
    to_script(job, number)
    assert job.end()[0] == (75 if number == TERM else 128 + number)
    assert requeued(tmp_path) == expected


@pytest.mark.parametrize("status", [0, 1])
def test_a_slurm_job_that_finishes_or_fails_is_not_requeued(slurm, tmp_path, status):
    assert slurm("bash", "-c", f"exit {status}").end()[0] == status
    assert requeued(tmp_path) == []


def test_a_requeued_slurm_job_finishes_the_training(slurm, blocks, tmp_path):
    run = ["--dataset_name=blocks", f"--shortcut_path={blocks}", "--backbone=tiny", "--resume=auto"]
    run += ["--decoder_width=0.02", "--crop_size=32", "--sem_flag=false", "--norm_flag=false"]
    run += ["--mtl_steps=40", "--samples_per_epoch=60", "--batch_size=2"]
    command = [sys.executable, ROOT / "train_mtl.py", *run]
    history = tmp_path / "output" / "blocks" / "mtl" / "history.csv"

    def steps():
        if not history.exists():
            return []
        with history.open(newline="") as file:
            return [int(row["step"]) for row in csv.DictReader(file)]

    job = slurm(*command)
    while len(steps()) < 3:
        assert job.process.poll() is None, job.end()[1]
        time.sleep(0.01)
    to_script(job, USR1)
    status, output = job.end()
    assert status == 75 and requeued(tmp_path) == ["requeue 4711"], output
    done = re.search(r"Stopped after step (\d+) of 40 on SIGUSR1, .* is saved[.;]", output)
    assert done and steps() == list(range(1, int(done[1]) + 1)) and "Traceback" not in output
    status, output = slurm(*command, SLURM_RESTART_COUNT="1").end()
    assert status == 0 and f"Continuing checkpoints/blocks/mtl after step {done[1]}" in output
    assert requeued(tmp_path) == ["requeue 4711"] and steps() == list(range(1, 41))
