"""What docs/security.md promises of files from strangers is held by tests that exist."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = [
    path
    for path in ROOT.rglob("*.py")
    if not {".venv", "tests", "shared"} & set(path.relative_to(ROOT).parts)
]
# By the last part of their name: what runs or unpickles what it is given.
CALLS = {"eval", "exec", "compile", "literal_eval", "system", "popen", "__import__"}
CALLS |= {"load_model", "model_from_json", "model_from_config", "import_module", "run_path"}
CALLS |= {"unsafe_load", "load_op_library"}
MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "yaml", "cloudpickle"}
ARGUMENTS = {"shell", "allow_pickle", "safe_mode"}
HARMLESS = {("re", "compile")}


def name_of(function):
    """Returns (what a function is taken from, its name)."""
    if isinstance(function, ast.Attribute):
        return getattr(function.value, "id", ""), function.attr
    return "", getattr(function, "id", "")


def suspicious(path):
    """Yields the lines of a file that run, or may run, what they are given."""
    for node in ast.walk(ast.parse(path.read_text())):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            name = name_of(node.func)
            if name[1] in CALLS and name not in HARMLESS:
                yield f"{place} {name[1]}"
            yield from (f"{place} {k.arg}" for k in node.keywords if k.arg in ARGUMENTS)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            yield from (f"{place} {n}" for n in names if n.split(".")[0] in MODULES)
        elif isinstance(node, ast.Attribute) and node.attr == "load":
            if ast.unparse(node.value) in ("tf.saved_model", "torch"):
                yield f"{place} {ast.unparse(node)}"


def test_nothing_that_runs_what_a_file_says_is_called():
    assert len(CODE) > 100
    assert [line for path in CODE for line in suspicious(path)] == []


def test_each_promise_names_tests_that_exist():
    rows = [line for line in (ROOT / "docs/security.md").read_text().split("\n") if "::" in line]
    assert len(rows) > 15
    for row in rows:
        tests = re.findall(r"`(tests/\S+\.py)::(\w+)`", row.split("|")[3])
        assert tests and len(tests) == row.count("::")
        for file, name in tests:
            assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"
