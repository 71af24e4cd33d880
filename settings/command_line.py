"""The command line of every script, and its --help."""

import argparse
import ast
import io
import tokenize
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import config
from project.version import VERSION, checkout
from settings.table import KINDS, TABLE, SettingsError, nearest, show

PRECEDENCE = (
    "A value comes from the first of these that gives one: the command line, the preset, "
    "config.py, the record of the data set, the built-in default. The order of the arguments does "
    "not matter."
)
# A script's own option: its name and the keyword arguments of `ArgumentParser.add_argument`.
Option = tuple[str, Mapping[str, Any]]


class _Parser(argparse.ArgumentParser):
    purpose = ""

    def format_help(self) -> str:
        return f"{self.purpose.strip()}\n\n{super().format_help()}"

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}. Write options as --name=value; --help lists all of them.")


class _Version(argparse.Action):
    # Unlike argparse's own action, it asks git for the commit only if the option is given.
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"DSMNet {checkout()}")
        parser.exit()


def read_arguments(
    purpose: str, arguments: Sequence[str], options: Sequence[Option] = ()
) -> tuple[dict[str, str], argparse.Namespace]:
    """Reads a command line without converting the values of settings.

    `--help` and `--version` print their text and end the script.

    Args:
        purpose: what the script does, for --help.
        arguments: of the command line.
        options: the script's own options and positional arguments.

    Returns:
        (texts of the given settings by name, the script's own options).

    Raises:
        SettingsError: for an unknown name, a missing value, a setting given twice, or a text that
            is not UTF-8.
    """
    for text in arguments:
        # Python turns bytes that are not UTF-8 into lone surrogates, which few libraries take.
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise SettingsError(f"{text!a} is not UTF-8. Rename the file or folder.")
    names = [name for name, _ in options] + [f"--{name}" for name in ("help", "version", *TABLE)]
    spelled = _spelled(arguments, {name.replace("_", "-"): name for name in names})
    own = vars(_parser(purpose, options).parse_args(spelled))
    given = {name: own.pop(name) for name in TABLE}
    for name, texts in given.items():
        if texts and len(texts) > 1:
            raise SettingsError(f"--{name} is given {len(texts)} times: {', '.join(texts)}.")
    return {name: texts[0] for name, texts in given.items() if texts}, argparse.Namespace(**own)


def _parser(purpose: str, options: Sequence[Option]) -> _Parser:
    positionals = [name for name, _ in options if not name.startswith("--")]
    parser = _Parser(
        usage=" ".join(["%(prog)s", *positionals, "[--name=value ...]"]),
        epilog=f"{PRECEDENCE} Option names may be written with - or _. DSMNet {VERSION}",
        allow_abbrev=False,
    )
    parser.purpose = purpose
    for name, keywords in options:
        parser.add_argument(name, **keywords)
    shown = "show the version and the commit, and exit"
    parser.add_argument("--version", action=_Version, nargs=0, dest=argparse.SUPPRESS, help=shown)
    for heading, settings in comments().items():
        group = parser.add_argument_group(heading)
        for name, comment in settings.items():
            value, metavar = getattr(config, name), KINDS[name][0].__name__.upper()
            # If the value is None, the comment says what that means.
            shown = comment if value is None else f"{comment} [{show(value)}]"
            shown = shown.replace("%", "%%")
            group.add_argument(f"--{name}", action="append", metavar=metavar, help=shown)
    return parser


def _spelled(arguments: Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Returns the arguments with - or _ in the names of options as the parser knows them.

    Args:
        arguments: of the command line.
        known: names as the parser knows them, by their spelling with - only.

    Raises:
        SettingsError: for an unknown name.
    """
    result: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":
            return [*result, *arguments[number:]]
        name, separator, value = argument.partition("=")
        if name.startswith("--"):
            if name.replace("_", "-") not in known:
                raise SettingsError(f"unknown setting {argument}.{nearest(name, known.values())}")
            name = known[name.replace("_", "-")]
        result.append(name + separator + value)
    return result


def comments() -> dict[str, dict[str, str]]:
    """Reads the comments of `config.py`.

    Returns:
        The comment of each setting by name, by heading of its group, in the order of the file.
    """
    source = Path(config.__file__).read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = [token for token in tokens if token.type == tokenize.COMMENT]
    texts = {token.start[0]: token.string.lstrip("# ") for token in found}
    headings = [token.start[0] for token in found if token.start[1] == 0]
    groups: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            heading = max(line for line in [0, *headings] if line < node.lineno)
            group = groups.setdefault(texts.get(heading, "Settings"), {})
            group[node.target.id] = texts.get(node.lineno, "")
    return groups
