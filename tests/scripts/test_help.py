"""--help of the shell scripts and of the commands that write a page: printed, and nothing done."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {"settings.page": "docs/settings.md", "datasets.catalogue": "docs/datasets.md"}
SCRIPTS = {
    "setup.sh": "./setup.sh --dev ",
    "run_tests.sh": "./run_tests.sh [--all]",
    "run_multi_worker.sh": "./run_multi_worker.sh N [--port=PORT] COMMAND",
    "run_train_test.sh": "./run_train_test.sh [--workers=N]",
    "launch.sh": "./launch.sh [--name=value ...]",
}


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_no_environment_and_makes_none(script, option, tmp_path):
    """On PATH is only what printing takes, and a Python that is too old to list the settings."""
    (tmp_path / "bin").mkdir()
    for name in ("bash", "sed", "dirname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    (tmp_path / "bin" / "python3").symlink_to(shutil.which("false"))
    shutil.copy(ROOT / script, tmp_path)
    if script != "setup.sh":
        (tmp_path / "setup.sh").write_text(f"#!{shutil.which('bash')}\necho set up >&2\n")
        (tmp_path / "setup.sh").chmod(0o755)
    done = subprocess.run(
        [tmp_path / script, option],
        env={"PATH": str(tmp_path / "bin")},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert SCRIPTS[script] in done.stdout and "set -E" not in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"bin", script, "setup.sh"}


@pytest.mark.parametrize("script", ["run_train_test.sh", "launch.sh"])
def test_help_lists_the_settings_where_python_can(script, tmp_path):
    environment = os.environ | {"VIRTUAL_ENV": sys.prefix}
    command = [ROOT / script, "--seed=1", "--help"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--mtl_learning_rate FLOAT" in done.stdout


@pytest.mark.parametrize("argument, status", [("--help", 0), ("--hlep", 2)])
@pytest.mark.parametrize("module", PAGES)
def test_a_page_is_written_without_arguments_only(module, argument, status):
    before = (ROOT / PAGES[module]).stat().st_mtime_ns
    command = [sys.executable, "-m", module, argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == status
    assert f"python -m {module}" in done.stdout + done.stderr
    assert (ROOT / PAGES[module]).stat().st_mtime_ns == before
