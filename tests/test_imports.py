"""The import direction of the project, as a test."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}  # config, settings and their parts among them
PACKAGES = {"models", "datasets", "training", "evaluation", "benchmarks"}
ALLOWED = {
    "models": {"models"},
    "datasets": {"datasets"},
    "training": {"models", "datasets", "training"},
    "evaluation": {"models", "datasets", "evaluation"},
}
FILES = [path for name in ALLOWED for path in sorted((ROOT / name).rglob("*.py"))]
EVERY_FILE = [*sorted(ROOT.glob("*.py")), *FILES, *sorted((ROOT / "tests").rglob("*.py"))]


def imported(path):
    """Yields (line number, module, names) of every absolute import of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module, [alias.name for alias in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    # A module run with `python -m` is a thin script: it may read settings.
    is_script = '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    allowed = ALLOWED[package] | ({"config", "settings"} if is_script else set())
    for line, module, _ in imported(path):
        top = module.split(".")[0]
        assert top not in (SCRIPTS | PACKAGES) - allowed, f"line {line}: {package} imports {top}"
        assert top != "osgeo" or "rasters" in path.parts, f"line {line}: GDAL outside rasters"


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_star_imports(path):
    assert not [line for line, _, names in imported(path) if "*" in names]


def test_only_scripts_read_config():
    readers = {p.stem for p in ROOT.glob("*.py") if "config" in {m for _, m, _ in imported(p)}}
    assert readers <= {"settings", "settings_table", "settings_arguments"}


def test_settings_stay_light():
    parts = [path for path in ROOT.glob("settings*.py")]
    tops = {module.split(".")[0] for path in parts for _, module, _ in imported(path)}
    assert not tops & {"tensorflow", "keras", "numpy", "models", "training", "evaluation"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_of_a_package_are_imported_by_nobody(path):
    for line, module, _ in imported(path):
        target = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        in_package = target.parent != ROOT and target.is_file()
        is_script = in_package and "__main__" in target.read_text(encoding="utf-8")
        assert not is_script, f"line {line}: {module} is a script"
