"""run_train_test.sh starts the right commands and ends with its training, here a stub."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/usr/bin/env bash
echo "$(basename "$1") ${*:2}" >>"$LOG"
[[ -z "${WAIT:-}" ]] || { trap 'sleep 1; echo saved >>"$LOG"; exit 130' TERM; touch "$LOG.begun"
  while true; do sleep 0.1; done; }
"""
WORKERS = '#!/usr/bin/env bash\necho "workers $1" >>"$LOG"\nexec "${@:2}"\n'


@pytest.fixture
def job(tmp_path):
    """Returns (path of a copy of the script between stubs, its environment)."""
    stubs = {
        "setup.sh": "#!/usr/bin/env bash\n",
        "run_multi_worker.sh": WORKERS,
        ".venv/bin/python": STUB,
    }
    for name, text in stubs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    shutil.copy(ROOT / "run_train_test.sh", tmp_path)
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    return tmp_path / "run_train_test.sh", environment | {"LOG": str(tmp_path / "log")}


def test_workers_train_and_one_process_tests(job):
    script, environment = job
    subprocess.run([script, "--workers=3", "--seed=1"], env=environment, check=True)
    assert Path(environment["LOG"]).read_text().splitlines() == [
        "workers 3",
        "train_mtl.py --seed=1",
        "test_dsm.py --correction=false --splits=train,valid,test --seed=1",
        "workers 3",
        "train_dae.py --seed=1",
        "test_dsm.py --correction=true --splits=train,valid,test --seed=1",
    ]


def test_a_signal_to_the_job_waits_for_the_state(job):
    script, environment = job
    process = subprocess.Popen([script], env=environment | {"WAIT": "1"}, start_new_session=True)
    while not Path(f"{environment['LOG']}.begun").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)  # as timeout and clusters do
    assert process.wait(60) in (130, 143)
    assert Path(environment["LOG"]).read_text().splitlines() == ["train_mtl.py ", "saved"]
