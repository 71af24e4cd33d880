"""Gives the project damaged files of every kind that it reads, in a process of its own.

python -m tests.fuzz --inputs=10000 --seed=0 [--first=0] [--keep=FOLDER]

Each input must be read, or refused with an error of the project. Anything else is a finding:
another exception, a crash, more than 5 seconds, more memory than 4 GiB. The same numbers give the
same inputs. Prints counts by format and the findings; the exit status is 1 if there are any.
"""

import argparse
import collections
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.child import FOUND, READ, REFUSED, ROOT, make_input
from tests.fuzz.seeds import make_seeds

SECONDS = 5.0  # for one input
START_SECONDS = 60.0  # for loading GDAL and making the seeds
MEMORY = 4 * 2**30  # bytes of address space


@dataclass(frozen=True)
class Result:
    """What became of an input; `outcome` is "read", "refused" or "finding"."""

    number: int
    format: str
    outcome: str
    detail: str


def run(inputs: int, seed: int, first: int = 0) -> Iterator[Result]:
    """Yields the results of inputs, in their order; a process that dies is started again."""
    last = first + inputs
    while first < last:
        for result in _run_child(seed, first, last):
            yield result
            first = result.number + 1


def _run_child(seed: int, first: int, last: int) -> Iterator[Result]:
    """Yields the results of one process up to its end, which may come early."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as errors:
        arguments = [seed, first, last, folder, MEMORY]
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.child", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        begun = None
        try:
            for line in _lines(child, START_SECONDS):
                answer = json.loads(line)
                if "format" in answer:
                    begun = answer
                else:
                    yield Result(format=begun["format"], **answer)
                    begun = None
            reason = "more than 5 s" if child.poll() is None else ""
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        if begun or child.returncode:
            errors.seek(0)
            text = " ".join(errors.read().decode("utf-8", "replace").split()[-60:])
            reason = reason or f"the process ended with status {child.returncode}: {text}"
            if not begun:
                raise RuntimeError(reason)
            yield Result(begun["number"], begun["format"], FOUND, reason)


def _lines(child: subprocess.Popen, seconds: float) -> Iterator[bytes]:
    """Yields the lines of a process until it ends or says nothing for too long."""
    buffer = b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], seconds)
        data = os.read(child.stdout.fileno(), 2**16) if ready else b""
        if not data:
            if ready:
                child.wait()
            return
        *lines, buffer = (buffer + data).split(b"\n")
        yield from lines
        seconds = SECONDS


def table(results: list[Result]) -> str:
    """Returns the counts of outcomes by format as text."""
    counts = collections.Counter((result.format, result.outcome) for result in results)
    rows = [("format", READ, REFUSED, FOUND)]
    for kind in dict.fromkeys(result.format for result in results):
        rows.append((kind, *(str(counts[kind, o]) for o in (READ, REFUSED, FOUND))))
    total = collections.Counter(result.outcome for result in results)
    rows.append(("all", *(str(total[outcome]) for outcome in (READ, REFUSED, FOUND))))
    return "\n".join(f"{kind:14} {read:>7} {no:>8} {found:>8}" for kind, read, no, found in rows)


def save(result: Result, seed: int, folder: Path) -> None:
    """Writes the files of an input into a folder."""
    source, data, _ = make_input(make_seeds(), seed, result.number)
    place = folder / str(result.number)
    place.mkdir(parents=True, exist_ok=True)
    for name, content in (source.files | {source.target: data}).items():
        if name:
            (place / name).write_bytes(content)


def main(arguments: list[str] | None = None) -> int:
    """Runs the script; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, help="folder for the files of the findings")
    options = parser.parse_args(arguments)
    start, results = time.monotonic(), []
    for result in run(options.inputs, options.seed, options.first):
        results.append(result)
        if result.outcome == FOUND:
            print(f"input {result.number} ({result.format}): {result.detail}", flush=True)
            if options.keep:
                save(result, options.seed, options.keep)
    print(f"{table(results)}\n{time.monotonic() - start:.0f} s")
    return int(any(result.outcome == FOUND for result in results))


if __name__ == "__main__":
    sys.exit(main())
