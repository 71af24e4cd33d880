"""setup.sh in a copy of its own, with stand-ins for the programs that it looks for on PATH."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "env", "cat", "cp", "dirname", "mkdir", "sha256sum", "tee")
GDAL_COMMANDS = "gdalinfo gdal_translate gdalwarp gdalbuildvrt ogr2ogr gdal_edit.py".split()
# A Python that fits, has every module but no GDAL bindings, and whose headers are in place.
PYTHON = """
case "$*" in
  *version_info*) echo 11 ;;
  *osgeo*) exit 1 ;;
  *sysconfig*) echo "{folder}" ;;
  *"-m venv"*) mkdir -p "${{@: -1}}/bin"; cp "$0" "${{@: -1}}/bin/python" ;;
esac
"""


class Machine:
    """A folder with a copy of setup.sh and a PATH that holds nothing but what a test puts there."""

    def __init__(self, folder):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        (folder / ".ci").mkdir()
        for name in ("setup.sh", ".ci/run", "requirements.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / name, folder / name)
        for name in TOOLS:
            (self.bin / name).symlink_to(shutil.which(name))
        (folder / "Python.h").touch()
        self.program("python3", PYTHON.format(folder=folder))
        self.program("id", "echo 1000")
        self.program("sudo", "exit 1")
        self.program("apt-get", "exit 0")

    def program(self, name, script):
        path = self.bin / name
        path.write_text(f'#!/bin/bash\necho {name} "$@" >> {self.folder}/calls\n{script}\n')
        path.chmod(0o755)

    def setup(self, *arguments, script="setup.sh", **variables):
        command = [self.folder / script, *arguments]
        variables["PATH"] = str(self.bin)
        return subprocess.run(command, env=variables, capture_output=True, text=True)

    def calls(self):
        path = self.folder / "calls"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def ready(machine):
    """A machine where setup.sh has run through."""
    machine.program("g++", "")
    machine.program("gdal-config", "echo 3.6.2")
    for name in GDAL_COMMANDS:
        machine.program(name, "")
    script = PYTHON.format(folder=machine.folder).replace("*osgeo*) exit 1", "*osgeo*) echo 3.6.2")
    machine.program("python3", script)
    assert machine.setup().returncode == 0
    (machine.folder / "calls").unlink()
    return machine


def test_old_python_is_named(machine):
    machine.program("python3", 'if [[ $1 == --version ]]; then echo "Python 3.8.10"; fi; echo 8')
    result = machine.setup()
    assert result.returncode == 1
    assert "no Python 3.11 to 3.13 found (python3 is Python 3.8.10" in result.stderr
    assert "sudo apt-get install -y python3.11" in result.stderr


def test_missing_system_packages_without_root(machine):
    (machine.folder / "Python.h").unlink()
    result = machine.setup()
    assert result.returncode == 1
    command = (
        "sudo apt-get install -y --no-install-recommends g++ libgdal-dev python3.11-dev gdal-bin"
    )
    assert result.stderr.rstrip().endswith(f"Run: {command}")


def test_missing_compiler_is_all_that_is_asked_for(machine):
    for name in ("gdal-config", *GDAL_COMMANDS):
        machine.program(name, "echo 3.6.2")
    assert machine.setup().stderr.rstrip().endswith("--no-install-recommends g++")


def test_root_installs_system_packages(machine):
    machine.program("id", "echo 0")
    machine.setup()
    assert "apt-get install -y --no-install-recommends g++ libgdal-dev gdal-bin" in machine.calls()


@pytest.mark.parametrize("name", GDAL_COMMANDS)
def test_root_installs_the_commands_of_gdal_where_one_is_missing(ready, name):
    (ready.bin / name).unlink()
    ready.program("id", "echo 0")
    assert ready.setup().returncode == 0
    assert "apt-get install -y --no-install-recommends gdal-bin" in ready.calls()
    assert "pip" not in ready.calls()


def test_without_root_the_commands_of_gdal_are_asked_for_once(ready):
    (ready.bin / "gdalwarp").unlink()
    result = ready.setup()
    assert result.returncode == 0  # nothing that runs needs them
    assert "Run: sudo apt-get install -y --no-install-recommends gdal-bin\n" in result.stderr
    assert "gdalwarp and the like, which messages recommend, are not installed" in result.stderr
    assert (ready.setup().stderr, ready.setup("--dev").returncode) == ("", 0)


def test_every_command_that_messages_and_docs_recommend_is_there():
    if not shutil.which("gdalinfo"):
        pytest.skip("gdal-bin is not installed, see setup.sh")
    named = r"\bgdal(?:info|warp|addo|buildvrt|_translate|_rasterize|_[a-z]+\.py)\b|\bogr2ogr\b"
    sources = [path for ending in ("py", "md") for path in ROOT.glob(f"[a-z]*/**/*.{ending}")]
    commands = {name for path in sources for name in re.findall(named, path.read_text())}
    assert len(commands) > 4 and not [name for name in commands if not shutil.which(name)]


def test_without_network_apt_gives_the_command(machine):
    machine.program("id", "echo 0")
    machine.program("apt-get", "exit 100")
    result = machine.setup()
    assert result.returncode == 1
    assert "could not install g++ libgdal-dev" in result.stderr
    assert "apt-get install -y" in result.stderr.splitlines()[-1]


def test_without_network_pip_says_what_to_do(ready):
    (ready.folder / "requirements.txt").write_text("tensorflow>=99")
    python = ready.folder / ".venv" / "bin" / "python"
    python.write_text(python.read_text() + 'if [[ $* == *"pip install"* ]]; then exit 1; fi\n')
    result = ready.setup()
    assert result.returncode == 1
    assert "pip could not install the Python packages" in result.stderr


def test_second_run_is_silent_and_starts_no_python(ready):
    result = ready.setup()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert ready.calls().split() == ["gdal-config", "--version"]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_changed_requirements_are_installed(ready, name):
    (ready.folder / name).write_text("numpy")
    ready.setup()
    assert "pip install" in ready.calls()


def test_developers_tools_come_on_request(ready):
    assert ready.setup("--dev").returncode == 0
    assert f"-r {ready.folder}/requirements-dev.txt" in ready.calls()
    assert ready.setup().stderr == ""  # what running needs came with them


def test_browser_comes_with_the_developers_tools(ready):
    ready.program("id", "echo 0")
    ready.setup()
    assert "chromium" not in ready.calls()
    ready.setup("--dev")
    assert "install -y --no-install-recommends chromium chromium-driver" in ready.calls()


def test_browser_at_hand_is_not_installed_again(ready):
    ready.program("chromium", "")
    ready.program("chromedriver", "")
    ready.setup("--dev")
    assert ready.setup("--dev").stderr == ""
    assert "apt-get" not in ready.calls()


def test_developers_tools_come_without_the_browser_where_it_cannot_be_had(ready):
    result = ready.setup("--dev")
    assert result.returncode == 0
    assert "sudo apt-get install -y --no-install-recommends chromium chrom" in result.stderr
    assert "the browser tests will be skipped" in result.stderr
    assert "setup: skipped: missing" in result.stderr and "error" not in result.stderr


def test_browser_that_could_not_be_had_is_not_tried_again(ready):
    ready.program("id", "echo 0")
    ready.program("apt-get", "exit 100")
    ready.setup("--dev")
    (ready.folder / "calls").unlink()
    assert ready.setup("--dev").stderr == ""
    assert "apt-get" not in ready.calls()
    (ready.folder / "requirements.txt").write_text("numpy")
    ready.setup("--dev")
    assert "install -y --no-install-recommends chromium" in ready.calls()


def test_all_checks_need_the_browser(ready):
    ready.program("chromium", "")
    result = ready.setup(script=".ci/run")
    assert result.returncode == 1
    assert ".ci/run: error: chromedriver is missing" in result.stderr.splitlines()[-1]
    ready.program("chromedriver", "")
    assert ".ci/run: error" not in ready.setup(script=".ci/run").stderr


def test_new_system_gdal_rebuilds_the_bindings(ready):
    ready.program("gdal-config", "echo 3.8.4")
    ready.setup()
    assert "gdal==3.8.4" in ready.calls()


def test_active_environment_is_used(ready, tmp_path):
    own = tmp_path / "own"
    shutil.move(ready.folder / ".venv", own)
    assert ready.setup(VIRTUAL_ENV=str(own)).returncode == 0
    assert not (ready.folder / ".venv").exists()


def test_active_environment_of_an_old_python_is_named(machine, tmp_path):
    (tmp_path / "old" / "bin").mkdir(parents=True)
    machine.program("python3", 'if [[ $1 == --version ]]; then echo "Python 3.8.10"; fi; echo 8')
    shutil.copy(machine.bin / "python3", tmp_path / "old" / "bin" / "python")
    result = machine.setup(VIRTUAL_ENV=str(tmp_path / "old"))
    assert result.returncode == 1
    assert "the active virtual environment has Python 3.8.10" in result.stderr


def test_unknown_argument_is_refused(machine):
    assert "unknown arguments: --all" in machine.setup("--all").stderr


def test_run_train_test_sets_the_correction_itself():
    command = [ROOT / "run_train_test.sh", "--seed=1", "--correction=true"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert "Leave it out" in result.stderr
