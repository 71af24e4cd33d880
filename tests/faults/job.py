"""A job: the stages of a training, each started again until it is finished, whatever stops it."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.process import ROOT, Script, Workers
from tests.faults.stage import BEST_WEIGHTS, END, EPOCH_STEPS, START, STEP, Stage

SAVED = 75  # exit status of a script that was asked to stop and has saved its state
WAIT = 300.0  # seconds after which a process hangs
PAUSE = 0.0002  # seconds between two looks at the files, for a phase of milliseconds
LONG_PAUSE = 0.005
ANY, RENAME = "any", "rename"  # aims beside the phases
RENAMES = 20  # about as many as a process makes
BLUR = 0.003  # seconds after the beginning of a phase within which the signal comes

NETWORK = ["--preset=improved", "--backbone=tiny", "--decoder_width=0.02", "--crop_size=32"]
LENGTH = ["--samples_per_epoch=12", "--mtl_steps=15", "--dae_steps=9", "--dropout=0.3"]
DEVICES = {
    "one": ["--batch_size=4"],
    "replicas": ["--batch_size=2", "--cpu_replicas=2"],
    "four replicas": ["--batch_size=1", "--cpu_replicas=4"],
    "workers": ["--batch_size=2"],
}


@dataclass(frozen=True)
class Fault:
    """A signal, and when it comes.

    Attributes:
        signal: its number.
        aim: `ANY` time after the first step, a phase of `tests.faults.stage`, or `RENAME`: before
            a file or folder takes its name.
        moment: 0 to 1, when within the steps that are left; of `RENAME`, before which one.
        process: which of several workers it hits.
    """

    signal: int
    aim: str
    moment: float
    process: int = 0

    def __str__(self) -> str:
        return f"{signal.Signals(self.signal).name} aimed at {self.aim} ({self.moment:.3f})"


@dataclass(frozen=True)
class Hit:
    """What a fault has met.

    Attributes:
        fault: that came.
        stage: name of the stage.
        phase: what the process was doing.
        step: the last one in history.csv.
        status: exit status of the process.
    """

    fault: Fault
    stage: str
    phase: str
    step: int
    status: int

    def __str__(self) -> str:
        return f"{self.stage} after step {self.step}: {self.fault}, in {self.phase}: {self.status}"


class JobError(Exception):
    """A job did not go as it should."""


class Job:
    """One job in a folder of its own."""

    def __init__(self, folder: Path, data: Path, devices: str, options: Sequence[str]):
        """Prepares the job.

        Args:
            folder: for everything that it writes; made if absent.
            data: folder that holds the data set "blocks".
            devices: of `DEVICES`.
            options: further settings.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._data, self._devices = folder, data, devices
        self._options = [*NETWORK, *LENGTH, *DEVICES[devices], *options]
        self.seconds: dict[str, tuple[float, float]] = {}  # of stages: to the first step, from it

    def stage(self, name: str) -> Stage:
        """Returns where a stage of the job has its files."""
        return Stage(self.folder, name)

    def command(self, script: str, *arguments: str) -> list[str]:
        """Returns the command of a root script."""
        places = [f"--checkpoint_dir={self.folder / 'ck'}", f"--output_dir={self.folder / 'out'}"]
        data = ["--dataset_name=blocks", f"--shortcut_path={self._data}"]
        return [str(ROOT / script), *arguments, *data, *places, *self._options]

    def start(self, name: str, kill_before_rename: int = 0) -> Script | Workers:
        """Starts the training of a stage."""
        command, log = self.command(f"train_{name}.py"), self.folder / f"{name}.log"
        if self._devices == "workers":
            return Workers(2, command, log)
        return Script(command, log, kill_before_rename)

    def run_whole(self, names: Sequence[str]) -> None:
        """Runs stages that nothing stops, and notes how long they take."""
        for name in names:
            start = time.monotonic()
            with Watch(self.start(name), self.stage(name)) as watch:
                watch.until(lambda: watch.begun, pause=LONG_PAUSE)  # noqa: B023  called at once
                first = time.monotonic()
                self._expect(watch.status(), name)
            self.seconds[name] = first - start, time.monotonic() - first

    def run(self, name: str, faults: Sequence[Fault], whole: "Job") -> Iterator[Hit]:
        """Runs a stage to its end, and lets faults come in their order.

        Args:
            name: of the stage.
            faults: one for each process; those that come too late are left out.
            whole: the same job, which nothing has stopped.

        Raises:
            JobError: if a process does not end as it should.
        """
        for fault in faults:
            hit = self._run_into(name, fault, whole)
            if hit is None:
                return
            yield hit
        with Watch(self.start(name), self.stage(name)) as watch:
            self._expect(watch.status(), name)

    def _run_into(self, name: str, fault: Fault, whole: "Job") -> Hit | None:
        """Runs a stage until a fault comes; returns None if it is finished before."""
        stage = self.stage(name)
        left = stage.unfinished()
        rename = 1 + int(fault.moment * RENAMES) if fault.aim == RENAME else 0
        before = None
        with Watch(self.start(name, rename), stage) as watch:
            if not rename:
                aim(watch, fault, left, whole.seconds[name])
                before = send(watch, fault, left)
            status = watch.status()
        after = stage.phase(watch.begun, left)
        killed = status == 128 + signal.SIGKILL
        if before is None and not (rename and killed):
            self._expect(status, name)
            return None
        hit = Hit(fault, name, after if killed else before, stage.step(), status)
        self._check(hit, stage, watch.begun and after != END)
        return hit

    def kill_after(self, name: str, step: int) -> Hit:
        """Runs a stage and kills it as soon as a step is in its history."""
        stage = self.stage(name)
        with Watch(self.start(name), stage) as watch:
            watch.until(lambda: watch.begun and stage.step() >= step)
            phase = send(watch, fault := Fault(signal.SIGKILL, STEP, 0.0), frozenset())
            status = watch.status()
        if phase is None:
            raise JobError(f"{name} ended with status {status}: {self._last_line(name)}")
        return Hit(fault, name, phase, stage.step(), status)

    def _check(self, hit: Hit, stage: Stage, trained: bool) -> None:
        """Raises JobError if the exit status is not that of the signal."""
        allowed = {128 + hit.fault.signal}
        if hit.fault.signal != signal.SIGKILL:
            allowed = {SAVED} if trained else {0, SAVED, *allowed}
        if hit.status not in allowed:
            raise JobError(f"{hit}, expected {sorted(allowed)}; {self._last_line(stage.name)}")
        if hit.status == SAVED and stage.state_step() != stage.step():
            raise JobError(f"{hit}, but the newest state is of step {stage.state_step()}")

    @property
    def heights(self) -> Path:
        """The file of `predict`."""
        return self.folder / "heights.tif"

    def predict(self) -> Path:
        """Predicts the heights of a photo; returns their file."""
        photo = self._data / "blocks" / "test" / "rgb" / "test_0.tif"
        command = self.command("predict.py", str(photo), str(self.heights))
        script = Script(command, self.folder / "predict.log")
        with Watch(script, self.stage("mtl")) as watch:
            self._expect(watch.status(), "predict")
        return self.heights

    def copy(self, other: "Job") -> None:
        """Puts stage 1 of another, finished job into the folders of this one."""
        theirs, mine = other.stage("mtl"), self.stage("mtl")
        shutil.copytree(theirs.weights, mine.weights)
        shutil.copytree(theirs.results, mine.results)

    def has_aside(self, other: "Job") -> bool:
        """Returns whether the run of `copy` has been moved aside with its weights."""
        mine = self.stage("mtl").weights.with_name("mtl.1") / BEST_WEIGHTS
        theirs = other.stage("mtl").weights / BEST_WEIGHTS
        return mine.is_file() and mine.read_bytes() == theirs.read_bytes()

    def _expect(self, status: int, name: str) -> None:
        """Raises JobError if a process that nothing stopped has failed."""
        if status:
            raise JobError(f"{name} ended with status {status}: {self._last_line(name)}")

    def _last_line(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it printed nothing")


class Watch:
    """Looks at a process and at the files of its stage; as a context, it ends the process.

    Attributes:
        process: the process.
        stage: that it trains.
        begun: whether it has trained a step.
    """

    def __init__(self, process: Script | Workers, stage: Stage):
        self.process, self.stage = process, stage
        self.begun, self._lowest = False, stage.step()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_) -> None:
        self.process.end()

    def look(self) -> None:
        """Notes whether there is a new step."""
        step = self.stage.step()
        # A continued run first cuts off the rows after its state.
        self.begun = self.begun or step > self._lowest
        self._lowest = min(self._lowest, step)

    def until(
        self, condition: Callable[[], bool], seconds: float = WAIT, pause: float = PAUSE
    ) -> bool:
        """Waits for a condition; returns False if the process ends, or time is up, before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            self.look()
            if condition():
                return True
            time.sleep(pause)
        return False

    def status(self) -> int:
        """Waits for the end of the process and returns its status.

        Raises:
            JobError: if it does not end.
        """
        self.until(lambda: False, pause=LONG_PAUSE)
        status = self.process.poll()
        if status is None:
            raise JobError(f"the process still runs after {WAIT:.0f} s")
        self.look()
        return status


def aim(watch: Watch, fault: Fault, left: frozenset[str], seconds: tuple[float, float]) -> None:
    """Waits for the moment of a fault, or for the end of the process.

    Args:
        watch: on the process.
        fault: to come.
        left: unfinished files from before the process.
        seconds: that a whole run takes to its first step, and from it.
    """
    stage, (first, rest) = watch.stage, seconds
    if fault.aim == START:
        watch.until(lambda: False, fault.moment * first, LONG_PAUSE)
    elif watch.until(lambda: watch.begun, pause=LONG_PAUSE):
        # By steps, not by time, since the machine may be busier than it was. Never in the last
        # ones, and earlier still where a phase has to come that is not part of every step.
        share = 0.8 if fault.aim == ANY else 0.5
        step = stage.step() + int(share * fault.moment * (stage.steps - stage.step()))
        watch.until(lambda: stage.step() >= step)
        within = fault.moment * 1000 % 1
        if fault.aim == ANY:
            time.sleep(within * rest * EPOCH_STEPS / stage.steps)  # an epoch
        else:
            watch.until(lambda: stage.phase(watch.begun, left) == fault.aim)
            time.sleep(within * BLUR)


def send(watch: Watch, fault: Fault, left: frozenset[str]) -> str | None:
    """Sends the signal of a fault; returns the phase before it, None if there is no process."""
    processes = watch.process.processes() if watch.process.poll() is None else []
    watch.look()
    phase = watch.stage.phase(watch.begun, left)
    if not processes:
        return None
    try:
        os.kill(processes[fault.process % len(processes)], fault.signal)
    except ProcessLookupError:
        return None
    return phase
