"""Options of scripts: reading what the user enters, and writing settings as arguments."""

import argparse
from collections.abc import Callable, Iterable, Mapping

from settings.command_line import Option


def whole(low: int, high: int = 0) -> Callable[[str], int]:
    """Returns a reader of whole numbers, for `type` of an option; a `high` of 0 is no limit.

    It raises argparse.ArgumentTypeError for any other text.
    """
    words = f"a whole number, at least {low}" + (f", at most {high}" if high else "")

    def read(text):
        if not text.isdecimal() or not low <= int(text) <= (high or int(text)):
            raise argparse.ArgumentTypeError(f"{text!r}: expected {words}")
        return int(text)

    return read


def one_of(names: Iterable[str]) -> Callable[[str], str]:
    """Returns a reader of names in any case; it raises argparse.ArgumentTypeError for others."""

    def read(text):
        if text.lower() not in names:
            raise argparse.ArgumentTypeError(f"{text!r}: expected {', '.join(names)}")
        return text.lower()

    return read


def list_of(read: Callable[[str], object]) -> Callable[[str], list]:
    """Returns a reader of texts with commas, each part read by `read`."""
    return lambda text: [read(part.strip()) for part in text.split(",") if part.strip()]


def command_line(texts: Mapping[str, object]) -> list[str]:
    """Returns settings, or options, as the arguments of a script."""
    return [f"--{name}={text}" for name, text in texts.items()]


def option(
    name: str, read: Callable[[str], object], metavar: str, purpose: str, default: object = None
) -> Option:
    """Returns an option of a script, as `settings.loading.load` takes it."""
    return name, {"type": read, "metavar": metavar, "help": purpose, "default": default}
