"""The command line of every script and its --help."""

import argparse
import ast
import difflib
import tokenize
from pathlib import Path

import config
from settings.table import KINDS, TABLE, SettingsError, show

PRECEDENCE = (
    "A value on the command line wins over the preset, then config.py, the data set's record "
    "and the built-in default; the order of arguments never matters."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise SettingsError(f"{message}. Options are written --name=value; --help lists them.")


def read_arguments(description, arguments, options=()):
    """Reads a command line as text; `--help` prints all settings and ends the script.

    Args:
        description: str, what the script does.
        arguments: list of str.
        options: the script's own options, pairs (name, keyword arguments of `add_argument`).

    Returns:
        Tuple of a dict (name of a setting to its text) and a namespace of the own options.

    Raises:
        SettingsError: for an unknown name, a missing value, or a setting given twice.
    """
    parser, known = _parser(description, options)
    own = vars(parser.parse_args(_spelled(arguments, known)))
    given = {name: own.pop(name) for name in TABLE}
    for name, texts in given.items():
        if texts and len(texts) > 1:
            raise SettingsError(f"--{name} is given {len(texts)} times: {', '.join(texts)}.")
    return {name: texts[0] for name, texts in given.items() if texts}, argparse.Namespace(**own)


def _parser(description, options):
    """Returns the parser and the names of its options, with underscores."""
    parser = _Parser(
        description=description,
        usage="%(prog)s [--name=value ...]" if not options else None,
        epilog=f"{PRECEDENCE} - and _ are alike in names.",
        allow_abbrev=False,
    )
    known = ["--help"]
    for name, keywords in options:
        known.append(_underscored(name))
        parser.add_argument(*dict.fromkeys((name, known[-1])), **keywords)
    for heading, settings in comments().items():
        group = parser.add_argument_group(heading)
        for name, comment in settings.items():
            known.append(f"--{name}")
            kind = KINDS[name][0].__name__.upper()
            group.add_argument(known[-1], action="append", metavar=kind, help=_help(name, comment))
    return parser, known


def _help(name, comment):
    value = getattr(config, name)
    # The comment itself says what None means.
    return (comment if value is None else f"{comment} [{show(value)}]").replace("%", "%%")


def _underscored(name):
    return "--" + name[2:].replace("-", "_") if name.startswith("--") else name


def _spelled(arguments, known):
    """Returns the arguments with underscores in option names; an unknown name is refused."""
    result = []
    for number, argument in enumerate(arguments):
        name, separator, value = argument.partition("=")
        if argument == "--":
            return result + arguments[number:]
        name = _underscored(name)
        if name.startswith("--") and name not in known:
            raise SettingsError(f"unknown setting {argument}.{nearest(name, known)}")
        result.append(name + separator + value)
    return result


def nearest(name, names):
    """Returns a sentence that offers the nearest of `names`, or nothing where none is near."""
    near = difflib.get_close_matches(name, names, 1)
    return f" Did you mean {near[0]}?" if near else " --help lists all settings."


def comments():
    """Reads the comments of `config.py`.

    Returns:
        dict of group heading to a dict of setting name to its comment, in the file's order.
    """
    path = Path(config.__file__)
    with path.open(encoding="utf-8") as file:
        tokens = [t for t in tokenize.generate_tokens(file.readline) if t.type == tokenize.COMMENT]
    lines = {token.start[0]: token.string.lstrip("# ") for token in tokens}
    headings = [token.start[0] for token in tokens if token.start[1] == 0]
    groups = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign):
            heading = max(line for line in [0, *headings] if line < node.lineno)
            group = groups.setdefault(lines.get(heading, "Settings"), {})
            group[node.target.id] = lines.get(node.lineno, "")
    return groups
