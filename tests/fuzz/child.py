"""The process that reads damaged files: python -m tests.fuzz.child SEED FIRST LAST FOLDER MEMORY.

It prints a line of JSON for each input and may crash or be killed at any time. It must not load
TensorFlow, which takes longer than hundreds of inputs.
"""

import faulthandler
import json
import os
import random
import resource
import sys
import traceback
from pathlib import Path

from tests.fuzz.damage import damage
from tests.fuzz.seeds import Seed, make_seeds
from tests.fuzz.uses import Workshop, is_refusal

ROOT = Path(__file__).parents[2]
READ, REFUSED, FOUND = "read", "refused", "finding"


def main(seed: int, first: int, last: int, folder: Path, memory: int) -> None:
    """Reads the inputs first to last - 1."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the project prints
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    seeds, workshop = make_seeds(), Workshop(folder)
    for number in range(first, last):
        source, data, chance = make_input(seeds, seed, number)
        print(json.dumps({"number": number, "format": source.format}), file=answers)
        outcome, detail = try_input(workshop, source, data, chance)
        print(json.dumps({"number": number, "outcome": outcome, "detail": detail}), file=answers)
    assert "tensorflow" not in sys.modules


def make_input(seeds: list[Seed], seed: int, number: int) -> tuple[Seed, bytes, random.Random]:
    """Returns an input: what it was made of, its content, and chance for its use.

    The first inputs are the seeds as they are.
    """
    source, chance = seeds[number % len(seeds)], random.Random(f"{seed} {number}")
    data = source.files.get(source.target, b"")
    if number >= len(seeds):
        data = damage(data, source.target, chance)
    return source, data, chance


def try_input(
    workshop: Workshop, source: Seed, data: bytes, chance: random.Random
) -> tuple[str, str]:
    """Returns the outcome of an input, and its reason."""
    try:
        workshop.use(source, data, chance)
        return READ, ""
    except (Exception, SystemExit) as error:
        if is_refusal(error):
            return REFUSED, f"{type(error).__name__}: {str(error)[:300]}"
        return FOUND, describe_error(error)


def describe_error(error: BaseException) -> str:
    """Returns type, place in the project and message of an error."""
    frames = traceback.extract_tb(error.__traceback__)
    files = [(Path(frame.filename), frame) for frame in frames]
    ours = [
        f"{path.relative_to(ROOT)}:{frame.lineno} {frame.name}"
        for path, frame in files
        if path.is_relative_to(ROOT) and ".venv" not in path.parts
    ]
    return f"{type(error).__name__} at {' < '.join(ours[:-4:-1])}: {ascii(str(error)[:200])}"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]), int(sys.argv[5]))
