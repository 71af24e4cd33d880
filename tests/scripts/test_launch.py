"""The launcher without a terminal, on a pseudo-terminal, and by launch.sh; all without a GPU."""

import os
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commands import launch as launcher
from commands.launch import (
    MODES,
    compose,
    device_settings,
    modes_of_machine,
    proposed_mode,
)
from settings.loading import load
from settings.table import SettingsError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {
    "CUDA_VISIBLE_DEVICES": "-1",
    "VIRTUAL_ENV": sys.prefix,
    "PYTHONPATH": str(ROOT),
}
LAUNCH = ("-P", "-m", "commands.launch")


@pytest.fixture
def launch(blocks, tmp_path, monkeypatch, capsys):
    """Returns a function (options) -> what the launcher prints, on the data set "blocks"."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launcher, "find_gpus", lambda settings: [])

    def run(*options):
        data = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
        launcher.main([*data, *options, "--dry-run"])
        return capsys.readouterr().out

    return run


def in_force(arguments):
    """Returns the settings of a command, as the training scripts read them."""
    return load("", arguments)


# The rates of "blocks" are the built-in 0.0002 at 4 crops; its record says 2 crops a replica.
JOBS = {
    "mirrored": (
        ["--mode=mirrored", "--devices=2", "--batch_size=4", "--output_dir=my results"],
        {"cpu_replicas": 2, "scale_learning_rate": "sqrt", "output_dir": "my results"},
        ["global batch = 4 x 2 replicas x 1 part = 8", "0.0002 x sqrt(8 / 4) = 0.000283"],
    ),
    "one": (
        ["--mode=one", "--batch_size=4"],
        {"multi_gpu_enabled": False, "scale_learning_rate": "none", "batch_size": 4},
        ["global batch = 4 x 1 replica x 1 part = 4", "learning rate = 0.0002\n"],
    ),
    "one_device_reduction": (
        ["--mode=one_device_reduction", "--devices=3", "--dae_batch_size=4", "--scaling=linear"],
        {"gradient_reduction": "reduction_to_one_device", "cpu_replicas": 3, "batch_size": 2},
        ["MTL: learning rate = 0.0002 x 6 / 4 = 0.0003", "DAE: learning rate = 0.0002 x 6 / 4 ="],
    ),
    "workers": (
        ["--mode=workers", "--gradient_accumulation_steps=3"],
        {"cpu_replicas": 0, "multi_gpu_enabled": True, "scale_learning_rate": "sqrt"},
        ["global batch = 2 x 2 replicas x 3 parts = 12", "x sqrt(12 / 4) = 0.000346"],
    ),
}


@pytest.mark.parametrize("mode", JOBS)
def test_each_mode_is_a_command_whose_settings_are_those_asked_for(launch, mode):
    options, expected, lines = JOBS[mode]
    shown = launch(*options)
    assert all(line in shown for line in lines), shown
    assert "(proposed)" in shown
    script, *arguments = shlex.split(shown.splitlines()[-1])
    assert script == str(ROOT / "run_train_test.sh")
    if mode == "workers":
        assert arguments.pop(0) == "--workers=2"
    settings = in_force(arguments)
    assert {name: settings.values[name] for name in expected} == expected


@pytest.mark.parametrize(
    "choice, changed",
    [
        (("mirrored", 4, [0, 1, 2, 3]), []),
        (("mirrored", 2, [0, 1, 2, 3]), ["--gpu_devices=0,1"]),
        (("one", 1, [0, 1, 2, 3]), ["--multi_gpu_enabled=false"]),
        (
            ("one_device_reduction", 3, [1, 2, 3, 5]),
            ["--gpu_devices=1,2,3", "--gradient_reduction=reduction_to_one_device"],
        ),
    ],
)
def test_settings_of_gpus(choice, changed):
    settings = in_force([])
    wanted = device_settings(settings, *choice)
    assert compose(settings, {}, wanted) == changed
    in_force(changed)


def test_config_and_preset_are_outvoted_only_where_they_differ():
    settings = in_force(["--preset=published", "--gradient_reduction=reduction_to_one_device"])
    texts = {"preset": "published"}
    wanted = device_settings(settings, "mirrored", 2, [0, 1])
    composed = compose(settings, texts, wanted | {"batch_size": 4})
    assert composed == ["--gradient_reduction=auto", "--preset=published"]


@pytest.mark.parametrize(
    "options, devices, mode",
    [
        ([], 0, "one"),
        ([], 2, "mirrored"),
        (["--multi_gpu_enabled=false"], 2, "one"),
        (["--gradient_reduction=reduction_to_one_device"], 2, "one_device_reduction"),
    ],
)
def test_the_proposed_mode_is_that_of_the_settings(options, devices, mode):
    modes = tuple(MODES)
    assert proposed_mode(in_force(options), modes, devices) == mode


def test_gpus_allow_no_workers_and_one_gpu_one_mode():
    every = tuple(MODES)
    assert modes_of_machine(every, []) == every
    assert modes_of_machine(every, [0]) == ("one",)
    assert modes_of_machine(every, [0, 1]) == every[:3]
    with pytest.raises(SettingsError, match="docs/distributed.md.*Slurm"):
        modes_of_machine(("workers",), [0, 1])
    with pytest.raises(SettingsError, match="mirrored need several GPUs.*--mode=one"):
        modes_of_machine(("mirrored",), [3])


@pytest.mark.parametrize(
    "options, words",
    [
        (["--mode=two"], "choose from 'mirrored'"),
        (["--devices=0"], "--devices: '0': expected a whole number, at least 1"),
        (["--workers=-2"], "--workers: '-2': expected a whole number, at least 1"),
        (["--devices=2", "--workers=2"], "Give one of them"),
        (["--mode=one", "--devices=2"], "needs mirrored or one_device_reduction"),
        (["--mode=mirrored", "--workers=2"], "--workers=2, which needs workers"),
        (["--scaling=linear", "--scale_learning_rate=none"], "Give one of them"),
        (["--scaling=cubic"], "choose from 'none'"),
        (["--batch_size=0"], "--batch_size=0: expected a whole number, at least 1"),
        (["--correction=true"], "Omit --correction"),
        (["--devises=2"], "Did you mean --devices?"),
        (["--yes"], "expected one argument"),
    ],
)
def test_a_wrong_option_ends_before_gpus_are_found(options, words, monkeypatch, capsys):
    monkeypatch.setattr(launcher, "find_gpus", lambda settings: pytest.fail("too late"))
    with pytest.raises(SystemExit) as ended:
        launcher.main(options)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and line.startswith("error: ") and words in line


def test_a_wrong_option_ends_before_tensorflow(tmp_path):
    command = [sys.executable, "-X", "importtime", *LAUNCH, "--mode=one", "--devices=2"]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "tensorflow" not in done.stderr


def test_where_the_driver_offers_no_gpu_the_answer_needs_no_tensorflow(tmp_path):
    command = [sys.executable, "-X", "importtime", *LAUNCH, "--dry-run", "--yes=true"]
    done = subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "tensorflow" not in done.stderr
    assert "GPUs: none" in done.stdout and "run_train_test.sh --multi" in done.stdout


def test_gpus_that_are_named_but_not_there_are_refused(capsys):
    with pytest.raises(SystemExit):
        launcher.main(["--dry-run", "--gpu_devices=0,97"])
    assert "TensorFlow sees no GPU" in capsys.readouterr().err


def test_a_setting_that_the_mode_contradicts_is_refused(launch, capsys):
    with pytest.raises(SystemExit) as ended:
        launch("--devices=2", "--cpu_replicas=3")
    shown = capsys.readouterr().err
    assert ended.value.code == 2
    assert "--cpu_replicas=3 contradicts" in shown and "cpu_replicas=2" in shown


class Terminal:
    """The launcher on a pseudo-terminal."""

    def __init__(self, *options):
        self.here, there = os.openpty()
        command = [sys.executable, *LAUNCH, *options]
        streams = {"stdin": there, "stdout": there, "stderr": there}
        # The tests may run in the background, where a shell has its commands ignore Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(command, env=ENVIRONMENT, cwd=ROOT, **streams)
        signal.signal(signal.SIGINT, before)
        os.close(there)

    def read(self, end=None):
        """Returns what is shown up to `end`, or up to the end of the program."""
        shown = ""
        while end is None or not shown.endswith(end):
            assert select.select([self.here], [], [], 300)[0], shown
            try:
                shown += os.read(self.here, 1024).decode()
            except OSError:  # the program has closed its side
                break
        return shown.replace("\r\n", "\n")

    def answer(self, prompt, text):
        """Waits for a question, answers it, and returns what was shown before."""
        shown = self.read(prompt)
        assert shown.endswith(prompt), shown
        os.write(self.here, text.encode())
        return shown

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.here)


@pytest.fixture
def terminal(blocks):
    """Returns a `Terminal` whose launcher works on the data set "blocks"."""
    opened = Terminal("--dataset_name=blocks", f"--shortcut_path={blocks}", "--dry-run")
    yield opened
    opened.close()


def test_questions_are_asked_on_a_terminal_again_after_a_wrong_answer(terminal):
    assert "one_device_reduction" in terminal.answer("Mode [one]: ", "mirored\n")
    shown = terminal.answer("Mode [one]: ", "Mirrored\n")
    assert "'mirored': expected mirrored, one, one_device_reduction, workers." in shown
    terminal.answer("CPU replicas [2]: ", "1\n")
    assert "'1': expected a whole number, at least 2." in terminal.answer("[2]: ", "4\n")
    terminal.answer("Crops per replica (batch_size) [2]: ", "\n")
    shown = terminal.answer("Scaling [sqrt]: ", "linear\n")
    assert "MTL: global batch = 2 x 4 replicas x 1 part = 8\n" in shown
    assert "  sqrt    0.0002 x sqrt(8 / 4) = 0.000283\n" in shown
    shown = terminal.read()
    assert "learning rate = 0.0002 x 8 / 4 = 0.0004\n" in shown
    script, *arguments = shlex.split(shown.splitlines()[-1])
    assert script == "./run_train_test.sh"
    assert arguments[:2] == ["--cpu_replicas=4", "--scale_learning_rate=linear"]
    assert terminal.process.wait() == 0


@pytest.mark.parametrize("end", ["Ctrl-D", "Ctrl-C"])
def test_leaving_a_question_runs_nothing(terminal, end):
    terminal.answer("Mode [one]: ", "\x04" if end == "Ctrl-D" else "")
    if end == "Ctrl-C":
        terminal.process.send_signal(signal.SIGINT)
        os.write(
            terminal.here, b"\n"
        )  # Python sees a signal just before it reads with the next key
    assert "\nNothing was run.\n" in terminal.read()
    assert terminal.process.wait() == 130


def test_the_command_is_run_and_its_status_returned(blocks, tmp_path):
    stub = '#!/bin/bash\necho "$0"\nprintf "<%s>\\n" "$@"\nexit 7\n'
    for name, text in (("run_train_test.sh", stub), ("setup.sh", "#!/bin/bash\necho ready\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for name in ("launch.sh", "commands"):
        (tmp_path / name).symlink_to(ROOT / name)
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}", "--output_dir=my results"]
    done = subprocess.run(
        [tmp_path / "launch.sh", "--yes=true", "--mode=one", *data],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 7, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ready" and "<--output_dir=my results>" in lines
    printed = next(line for line in lines if line.startswith("./run_train_test.sh --"))
    run = lines[lines.index("./run_train_test.sh") + 1 :]
    assert run == [f"<{argument}>" for argument in shlex.split(printed)[1:]]


@pytest.mark.parametrize(
    "arguments", [["--workers=0"], ["--workers=two"], ["--seed=1", "--workers"], ["--workers", "0"]]
)
def test_the_whole_job_refuses_a_wrong_number_of_workers(arguments):
    done = subprocess.run([ROOT / "run_train_test.sh", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the number of workers is '")
    assert done.stderr.endswith("expected 1 or more.\n")
