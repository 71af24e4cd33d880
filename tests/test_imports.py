"""The import rule of the project: packages point one way, and no files or packages in a cycle."""

import ast
import functools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A package imports only packages to its right; within a package the same for these parts of it.
PACKAGES = (
    "benchmarks commands training evaluation prediction runs settings datasets models devices "
    "project"
)
PARTS = {
    "datasets": "checks demo crops prepare tiles records catalogue rasters",
    "evaluation": "comparison split report tiles measures",
    "training": "stages",
}
# What these may take of other packages of the project, where that is less.
ONLY = {
    "models": ("project.",),
    "devices": ("project.",),
    "datasets": ("devices.memory", "project."),
    "settings": ("datasets.records.", "project."),
}
# These import the standard library, config and each other only.
LIGHT = (
    "settings.",
    "datasets.records.",
    "datasets.catalogue.",
    "project.errors",
    "project.interrupts",
    "project.lease",
    "project.texts",
    "project.version",
)
IMPORTS = ast.Import | ast.ImportFrom
MEASURES = "evaluation.measures."  # these import the standard library, NumPy, OpenCV and each other
READS_SETTINGS = tuple(
    "benchmarks. commands. settings. runs. training.stages. "
    "evaluation.split evaluation.report.page prediction.predictor prediction.requests".split()
)
IMPORTS_SETTINGS = (*READS_SETTINGS, "prediction.scene_files")  # which raises SettingsError


def read_project():
    """Returns dict of module name to source, of the packages, the root scripts and the tests."""
    folders = [ROOT / name for name in (*PACKAGES.split(), "tests")]
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    return {".".join(f.relative_to(ROOT).with_suffix("").parts): f.read_text() for f in files}


PROJECT = read_project()


@functools.cache
def import_lines(source):
    """Returns the pairs (module, name or None) that a source imports; "." begins a relative one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [(module, alias.name) for alias in node.names]
    return found


def imports_of(source, modules):
    """Returns the set of modules that a source imports, submodules by their full names."""

    def full_name(module, name):
        names = (f"{module}.{name}", f"{module}.{name}.__init__", module, f"{module}.__init__")
        return next((known for known in names if known in modules), module)

    return {full_name(*pair) for pair in import_lines(source)}


def rank(module):
    """Returns the place of a module on the lines above: left is low."""
    package, part = module.split(".")[:2]
    inner = PARTS.get(package, "").split()
    return PACKAGES.split().index(package), inner.index(part) if part in inner else len(inner)


def libraries(module):
    """Returns what a module may import beside the modules of its own kind; None = anything."""
    if module.startswith(LIGHT):
        return sys.stdlib_module_names | {"config"}
    return sys.stdlib_module_names | {"numpy", "cv2"} if module.startswith(MEASURES) else None


def package_of(module):
    return module.rpartition(".")[0]


def cycles(graph):
    """Returns the names that can be reached from themselves, of a dict of name to names."""

    def reached(start):
        seen, waiting = set(), list(graph.get(start, ()))
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph.get(name, ())
        return seen

    return sorted(name for name in graph if name in reached(name))


def problems(sources):
    """Returns what breaks the import rule in a dict of module name to source."""
    imports = {name: imports_of(source, sources) for name, source in sources.items()}
    scripts = {name for name in sources if "." not in name} - {"config"}
    ours = {name for name in sources if name.split(".")[0] in PACKAGES.split()}
    edges = {name: imports[name] & ours for name in ours}
    found = [
        f"{name} imports the script {m}" for name in ours | scripts for m in imports[name] & scripts
    ]
    for name in ours:
        top = name.split(".")[0]
        found += [f"{name} imports {other}" for other in edges[name] if rank(other) < rank(name)]
        outside = {other for other in edges[name] if not other.startswith(f"{top}.")}
        allowed = ONLY.get(top, ("",))
        found += [f"{name} imports {m}" for m in outside if not m.startswith(allowed)]
        if top not in ("benchmarks", "commands"):
            found += [f"{name} imports {m}" for m in outside if m.startswith("commands.")]
        if any(m.split(".")[0] == "osgeo" for m in imports[name]):
            if not name.startswith("datasets.rasters.") and name != "benchmarks.input":
                found.append(f"{name} imports GDAL")
        if "config" in imports[name] and top != "settings":
            found.append(f"{name} reads config")
        if not name.startswith(IMPORTS_SETTINGS):
            found += [f"{name} imports {m}" for m in outside if m.startswith("settings.")]
        if outer := libraries(name):
            kind = LIGHT if name.startswith(LIGHT) else MEASURES
            others = {m for m in imports[name] if not m.startswith(kind)}
            found += [f"{name} imports {m}" for m in others if m.split(".")[0] not in outer]
        found += [f"{name} imports {m}, a relative name" for m in imports[name] if m[0] == "."]
    found += [f"{name} is part of a cycle" for name in cycles(edges)]
    by_package = {}
    for name, others in edges.items():
        outer = {package_of(other) for other in others} - {package_of(name)}
        by_package.setdefault(package_of(name), set()).update(outer)
    return found + [f"{name} is part of a cycle" for name in cycles(by_package)]


def test_the_project_keeps_the_rule():
    assert problems(PROJECT) == []


@pytest.mark.parametrize(
    "module, line",
    [
        ("models.mtl", "from datasets.crops.targets import normal_targets"),
        ("models.mtl", "import devices.strategy"),
        ("datasets.tiles.samples", "from datasets.checks.validation import check_split"),
        ("datasets.crops.pipeline", "from settings.loading import load"),
        ("datasets.crops.pipeline", "from devices.strategy import make_strategy"),
        ("runs.start", "from training.loop import run_training"),
        ("training.stages.run", "from commands.errors import clear_errors"),
        ("evaluation.split", "import train_mtl"),
        ("predict", "import test_dsm"),
        ("prediction.streaming", "from osgeo import gdal"),
        ("runs.start", "import config"),
        ("settings.table", "import numpy"),
        ("training.losses", "from training import steps"),  # which imports the losses
        ("evaluation.measures.metrics", "from evaluation import split"),
        ("settings.table", "import tqdm"),
        ("settings.table", "from project.files import write_json"),
        ("settings.table", "from . import presets"),
        ("datasets.records.record", "import matplotlib"),
        ("datasets.catalogue.__main__", "import scipy"),
        ("project.version", "import tqdm"),
        ("models.mtl", "from .dae import build_dae"),
        ("evaluation.measures.metrics", "import tensorflow"),
        ("evaluation.tiles", "from evaluation.report import tables"),
        ("training.loop", "from settings.loading import Settings"),
        ("datasets.rasters.grids", "from datasets.catalogue import CATALOGUE"),
    ],
)
def test_a_planted_import_is_found(module, line):
    found = problems(PROJECT | {module: f"{PROJECT[module]}\n{line}\n"})
    assert any(problem.startswith(f"{module} ") for problem in found)


@functools.cache
def loads_tensorflow(module):
    """Returns whether a module loads TensorFlow as soon as it is imported."""
    if module.split(".")[0] in ("tensorflow", "keras"):
        return True
    top = [n for n in ast.parse(PROJECT.get(module, "")).body if isinstance(n, IMPORTS)]
    return any(loads_tensorflow(name) for n in top for name in imports_of(ast.unparse(n), PROJECT))


@pytest.mark.parametrize("script", ["predict", "test_dsm", "export", "train_mtl", "train_dae"])
def test_tensorflow_is_silenced_before_it_is_loaded(script):
    nodes = [n for n in ast.walk(ast.parse(PROJECT[script])) if isinstance(n, IMPORTS)]
    lines = {node.lineno: imports_of(ast.unparse(node), PROJECT) for node in nodes}
    silent = next(n for n in sorted(lines) if lines[n] == {"devices.quiet_tensorflow"})
    assert silent < min(n for n in lines if any(map(loads_tensorflow, lines[n])))


def test_ctrl_c_is_caught_before_anything_slow_is_imported():
    scripts = {name for name in PROJECT if "." not in name} - {"config"}
    for script in scripts | {"datasets.prepare.__main__", "datasets.demo.__main__"}:
        found = [name for name, _ in import_lines(PROJECT[script])]
        assert [name for name in found if name in PROJECT][0] == "project.interrupts", script


def test_no_star_imports():
    stars = {name for name in PROJECT if "*" in {n for _, n in import_lines(PROJECT[name])}}
    assert not stars


def test_settings_are_known_where_they_must_be_only():
    for name, source in PROJECT.items():
        if "." not in name or name.startswith(("tests.", *READS_SETTINGS)):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                names = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
                assert "settings" not in names, f"{name}, line {node.lineno}: {node.name}"


def test_the_root_holds_what_a_user_runs_or_edits():
    assert len([name for name in PROJECT if "." not in name]) <= 12
