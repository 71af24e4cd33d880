"""Sends signals to trainings at random moments, and starts them again until they are finished.

python -m tests.faults --kinds=kill,term --trials=10 --seed=0 [--first=0] [--keep=FOLDER]

A trial is one signal. Several come in one job, which trains stage 1 and stage 2 of a tiny network;
every second job begins in a folder that holds another run. At the end, the job must have the same
weights, states, histories and predictions as one that nothing has stopped: to the bit on one
device, within the rounding of two such runs on replicas and workers. The same numbers aim at the
same moments, but chance remains in what the process is doing by then.

    kill      SIGKILL on one device; half of them aim at writes, validations and renames
    term hup usr1 int    these signals: the training saves its state and ends with status 75
    mixed     SIGKILL, SIGUSR1, SIGTERM in stage 1 alone: a short run for the tests
    replicas  SIGKILL with two replicas, stage 1
    workers   SIGKILL of one of two workers of run_multi_worker.sh, stage 1
    scales    a run that goes from 2 replicas to 1 and to 4, stage 1, by SIGKILL

Prints each signal, the counts by kind and phase, and the failures; the exit status is 1 if there
are any.
"""

import argparse
import collections
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.blocks import write_blocks
from tests.faults.job import ANY, RENAME, Fault, Hit, Job, JobError
from tests.faults.process import call, import_scripts
from tests.faults.results import heights, list_differences
from tests.faults.stage import (
    BEST,
    DELICATE,
    PHASES,
    STAGES,
    START,
    STATE,
    STEP,
    VALIDATION,
    largest_difference,
)

SMALL = ("--sem_flag=false", "--norm_flag=false")
WHOLE = ("--ema_decay=0.5",)
# A high learning rate makes more of each rounding error than these trials allow.
SAME_STATISTICS = (*SMALL, "--sync_batch_norm=true", "--mtl_learning_rate=0.0001")
SCALES = ("replicas", "one", "four replicas")  # of `tests.faults.job.DEVICES`
SCALES_ROUNDING = 1e-4
# Sums of some thousand float32 numbers in another order: sqrt(1000s) x 6e-8, over a few steps.
LEAST_ROUNDING = 1e-5


@dataclass(frozen=True)
class Kind:
    """Which faults come in a job.

    Attributes:
        signals: their numbers, in turn.
        aims: at what they aim, in turn.
        faults: in one job.
        stages: that a job trains.
        devices: of `tests.faults.job.DEVICES`.
        variants: settings of the jobs, in turn; all but the first begin in the folder of a job with
            the first ones.
    """

    signals: tuple[int, ...]
    aims: tuple[str, ...]
    faults: int = 5
    stages: tuple[str, ...] = STAGES
    devices: str = "one"
    variants: tuple[tuple[str, ...], ...] = (SMALL, WHOLE)


KILL, MTL = (signal.SIGKILL,), ("mtl",)
POLITE = (ANY, VALIDATION, ANY, ANY, STATE, ANY, ANY, VALIDATION, START, ANY)
KINDS = {
    "kill": Kind(
        KILL, (RENAME, ANY, STATE, VALIDATION, ANY, STATE, STEP, BEST, START, VALIDATION, ANY)
    ),
    "term": Kind((signal.SIGTERM,), POLITE),
    "hup": Kind((signal.SIGHUP,), POLITE),
    "usr1": Kind((signal.SIGUSR1,), POLITE),
    "int": Kind((signal.SIGINT,), POLITE),
    "mixed": Kind(
        (signal.SIGKILL, signal.SIGUSR1, signal.SIGKILL, signal.SIGTERM),
        *((STATE, ANY, VALIDATION, ANY), 4, MTL, "one", (SMALL,)),
    ),
    "replicas": Kind(KILL, (ANY, VALIDATION, STATE, ANY, ANY), 3, MTL, "replicas", (SMALL,)),
    "workers": Kind(KILL, (ANY, STATE, VALIDATION), 1, MTL, "workers", (SMALL,)),
    "scales": Kind(KILL, (), 2, MTL, "one", (SAME_STATISTICS,)),
}


class Suite:
    """What the trials of all kinds share.

    Attributes:
        folder: for the jobs.
        data: folder that holds the data set "blocks".
        seed: of all chance.
    """

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed, self.data = folder, seed, folder / "data"
        write_blocks(self.data)
        self._whole: dict[tuple, Job] = {}
        self._rounding: dict[str, float] = {}

    def job(self, name: str, kind: Kind, options: Sequence[str]) -> Job:
        """Returns a job in a folder of that name."""
        return Job(self.folder / name, self.data, kind.devices, options)

    def whole(self, kind: Kind, options: tuple[str, ...]) -> Job:
        """Returns a job that nothing has stopped."""
        key = (kind.devices, kind.stages, options)
        if key not in self._whole:
            job = self._whole[key] = self.job(f"whole_{len(self._whole)}", kind, options)
            job.run_whole(kind.stages)
            if kind.stages == STAGES:
                job.predict()
        return self._whole[key]

    def rounding(self, kind: Kind) -> float | None:
        """Returns by how much losses may differ between equal jobs; None = not by a bit."""
        if kind.devices == "one":
            return None
        if kind.devices not in self._rounding:
            one = self.whole(kind, kind.variants[0])
            other = self.job(f"again_{kind.devices}", kind, kind.variants[0])
            other.run_whole(kind.stages)
            spread = largest_difference(*(job.stage("mtl").losses() for job in (one, other)))
            print(
                f"{kind.devices}: losses of two whole runs differ by up to {spread:.1e}", flush=True
            )
            self._rounding[kind.devices] = max(spread, LEAST_ROUNDING)
        return self._rounding[kind.devices]


class Trials:
    """The trials of one kind.

    Attributes:
        hits: the signals that came.
        failures: by the number of their job, what was wrong.
    """

    def __init__(self, name: str, suite: Suite):
        self.name, self.kind, self._suite = name, KINDS[name], suite
        self.hits: list[Hit] = []
        self.failures: dict[int, str] = {}

    def run(self, trials: int, first: int = 0) -> None:
        """Runs jobs until so many signals have come; a failure counts as one."""
        number = first
        while (left := trials - len(self.hits) - len(self.failures)) > 0:
            run_job = self._change_replicas if self.name == "scales" else self._run_job
            try:
                found = run_job(number, left)
            except JobError as error:
                found = [str(error)]
            if found:
                self.failures[number] = "; ".join(found)
                self._say(
                    number, f"FAILED: {self.failures[number]}. Repeat it: {self._again(number)}"
                )
            else:
                shutil.rmtree(self._suite.folder / self._folder(number))
            number += 1

    def _again(self, number: int) -> str:
        return (
            f"python -m tests.faults --kinds={self.name} --trials={self.kind.faults} "
            f"--seed={self._suite.seed} --first={number} --keep=FOLDER"
        )

    def _folder(self, number: int) -> str:
        return f"{self.name}_{number}"

    def _say(self, number: int, text: object) -> None:
        print(f"{self.name} job {number}: {text}", flush=True)

    def _note(self, number: int, hit: Hit) -> None:
        self.hits.append(hit)
        self._say(number, hit)

    def _chance(self, number: int) -> random.Random:
        return random.Random(f"{self._suite.seed} {self.name} {number}")

    def _run_job(self, number: int, most: int) -> list[str]:
        """Runs a job with its faults; returns what is wrong with what it leaves."""
        kind, suite = self.kind, self._suite
        options = kind.variants[number % len(kind.variants)]
        whole, rounding = suite.whole(kind, options), suite.rounding(kind)
        job = suite.job(self._folder(number), kind, options)
        other = suite.whole(kind, SMALL) if options == WHOLE else None
        if other:
            job.copy(other)
        for name, faults in self._plan(number, most).items():
            for hit in job.run(name, faults, whole):
                self._note(number, hit)
        stages = [[each.stage(name) for name in kind.stages] for each in (job, whole)]
        found = call(list_differences, *stages, rounding)
        if kind.stages == STAGES and call(heights, job.predict()) != call(heights, whole.heights):
            found.append("the predicted heights differ")
        if other and not job.has_aside(other):
            found.append("the run that was in the folder before has lost its weights")
        return found

    def _plan(self, number: int, most: int) -> dict[str, list[Fault]]:
        """Returns the faults of a job, at most so many, by stage."""
        kind, chance = self.kind, self._chance(number)
        plan: dict[str, list[Fault]] = {stage: [] for stage in kind.stages}
        for place in range(min(kind.faults, most)):
            turn = number * kind.faults + place
            number_of_signal = kind.signals[turn % len(kind.signals)]
            aim = kind.aims[turn % len(kind.aims)]
            fault = Fault(number_of_signal, aim, chance.random(), chance.randrange(2))
            # The first processes of a job move the run aside that is in its folder.
            plan["mtl" if place < 2 else chance.choice(kind.stages)].append(fault)
        return plan

    def _change_replicas(self, number: int, most: int) -> list[str]:
        """Kills a run twice, and goes on with another number of replicas."""
        chance, kind, options = self._chance(number), self.kind, self.kind.variants[0]
        whole = self._suite.whole(kind, options)
        ends = (chance.randint(3, 6), chance.randint(8, 11), None)
        for devices, end in zip(SCALES, ends, strict=True):
            job = self._suite.job(self._folder(number), replace(kind, devices=devices), options)
            if end:
                self._note(number, job.kill_after("mtl", end))
            else:
                job.run_whole(kind.stages)
        mine, theirs = job.stage("mtl"), whole.stage("mtl")
        difference = largest_difference(mine.losses(), theirs.losses())
        self._say(number, f"2, 1, 4 replicas: losses differ by up to {difference:.1e} from one")
        return call(list_differences, [mine], [theirs], SCALES_ROUNDING)


def table(kinds: Sequence[Trials]) -> str:
    """Returns the counts by kind, phase and exit status as text."""
    rows = [("kind", "signals", *PHASES, "failed", "exit statuses")]
    for trials in kinds:
        phases = collections.Counter(hit.phase for hit in trials.hits)
        statuses = collections.Counter(hit.status for hit in trials.hits)
        counts = (len(trials.hits), *(phases[phase] for phase in PHASES), len(trials.failures))
        listed = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
        rows.append((trials.name, *map(str, counts), listed))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("--kinds", default="kill", help="of signals, divided by commas")
    parser.add_argument("--trials", type=int, default=10, help="signals of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first job")
    parser.add_argument("--keep", type=Path, help="folder for the jobs that fail")
    options = parser.parse_args(arguments)
    options.kinds = options.kinds.split(",")
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"--kinds has {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs the script; returns the exit status."""
    options, start = parse(arguments), time.monotonic()
    import_scripts()
    done = []
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(Path(folder), options.seed)
        for name in options.kinds:
            done.append(Trials(name, suite))
            done[-1].run(options.trials, options.first)
        if options.keep and any(trials.failures for trials in done):
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
    phases = [hit.phase for trials in done for hit in trials.hits]
    met = sum(phase in DELICATE for phase in phases)
    print(table(done))
    print(f"{met} of {len(phases)} signals came within a write, a validation or a move")
    print(f"{time.monotonic() - start:.0f} s")
    return int(any(trials.failures for trials in done))


if __name__ == "__main__":
    sys.exit(main())
