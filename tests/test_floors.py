"""The house: imports point down, heavy things stay in their rooms, and no file grows too long."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "infinite_render"

# Where each file or room stands; it imports from lower floors, and from its own room.
FLOORS = {
    "errors": 0,
    "files": 0,
    "geometry": 0,
    "pixels": 0,
    "version": 0,
    "config": 1,
    "noise": 1,
    "precision": 1,
    "nn": 2,
    "fields": 3,
    "models": 3,
    "reference": 4,
    "training": 4,
    "inversion": 6,
    "rendering": 5,
    "benchmark": 6,
    "describe": 6,
    "evaluation": 6,
    "cli": 7,
    "__main__": 8,
}
ROOMS = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir()}

MOST_LINES, MOST_FUNCTION_LINES = 400, 80


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, dotted and without the package's own name, and its file."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        if parts[0] != "_models":
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text("utf-8"))


def nodes(tree: ast.AST, *, types_too: bool) -> Iterator[ast.AST]:
    """All nodes of a file; without `types_too`, not those that only a type checker runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types_too:
            continue
        yield node
        yield from nodes(node, types_too=types_too)


@cache
def imports(module: str, *, types_too: bool = True) -> frozenset[str]:
    """Full dotted names of what a module imports, at its top and inside its functions."""
    names: set[str] = set()
    for node in nodes(tree_of(module), types_too=types_too):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides which floor it is of"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix(f"{PACKAGE}.")
                names.add(f"{PACKAGE}.{inner}" if inner in modules() else node.module)
    return frozenset(names)


def inside(module: str, *, types_too: bool = True) -> set[str]:
    """The package's own modules that a module imports, without the package's name."""
    dotted = {name for name in imports(module, types_too=types_too) if name.startswith(PACKAGE)}
    return {name.removeprefix(PACKAGE).removeprefix(".") for name in dotted}


def outside(module: str) -> set[str]:
    """The libraries that a module imports, by the first part of their names."""
    return {name.split(".")[0] for name in imports(module, types_too=False)} - {PACKAGE}


def room(module: str) -> str:
    return module.split(".")[0]


def everything_under(module: str) -> set[str]:
    """A module and all that it imports, directly or not, when it runs."""
    seen, waiting = set(), [module]
    while waiting:
        here = waiting.pop()
        if here not in seen:
            seen.add(here)
            waiting += inside(here, types_too=False)
    return seen


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in modules()} - {""} <= FLOORS.keys()
    assert len(modules()) > 20


@pytest.mark.parametrize("module", [name for name in modules() if name])
def test_imports_point_down(module: str) -> None:
    for imported in inside(module) - {""}:
        same_room = room(imported) == room(module) and room(module) in ROOMS
        lower = FLOORS[room(imported)] < FLOORS[room(module)]
        assert same_room or lower, f"{module} imports {imported}, which is not below it"


def test_no_import_leads_back_to_where_it_came_from() -> None:
    order = TopologicalSorter({module: inside(module) for module in modules()})
    assert len(list(order.static_order())) >= len(modules())


def test_rendering_never_imports_training() -> None:
    for module in modules():
        if room(module) == "rendering":
            assert not [name for name in everything_under(module) if room(name) == "training"]


@pytest.mark.parametrize("module", ["rendering.store", "rendering.pyramid", "geometry", "config"])
def test_what_writes_files_runs_without_torch(module: str) -> None:
    for name in everything_under(module):
        assert "torch" not in outside(name), f"{module} reaches torch by {name}"
    code = f"import sys, {PACKAGE}.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_only_the_console_draws() -> None:
    for module in modules():
        if module != "cli.console":
            assert not outside(module) & {"rich", "tqdm"}, module


def test_networks_see_a_config_in_their_builder_alone() -> None:
    """A name imported from `config` stands in functions called build_..., and nowhere else."""
    for module in modules():
        if room(module) != "nn":
            continue
        tree = tree_of(module)
        configs = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == f"{PACKAGE}.config"
            for alias in node.names
        }
        for statement in tree.body:
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("build_"):
                continue
            used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            assert not used & configs, f"nn must not know {used & configs}: {module}"
        assert f"{PACKAGE}.config" not in imports(module) or configs


HELP = """
import runpy, sys
sys.argv = ["infrender", *sys.argv[1:]]
try:
    runpy.run_module("infinite_render", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "numpy", "zarr", "pyvips"} & sys.modules.keys()
sys.exit(f"help imports {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "--help"], ["--version"]])
def test_help_answers_at_once(arguments: list[str]) -> None:
    """Nothing heavy is imported before a command does its work."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("module", modules())
def test_no_file_and_no_function_is_too_long(module: str) -> None:
    lines = modules()[module].read_text("utf-8").count("\n")
    assert lines <= MOST_LINES, f"{modules()[module].name} has {lines} lines"
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{module}.{node.name} has {length} lines"


@pytest.mark.parametrize("module", modules())
def test_every_file_says_what_it_owns(module: str) -> None:
    said = ast.get_docstring(tree_of(module))
    assert said, f"{module} has no docstring"
    assert re.match(r"\S.*[.:?]$", said.split("\n\n")[0].replace("\n", " ")), said


def test_tests_and_examples_are_not_too_long_either() -> None:
    for path in [*ROOT.glob("tests/*.py"), *ROOT.glob("examples/*.py")]:
        assert path.read_text("utf-8").count("\n") <= MOST_LINES, path.name
    for path in ROOT.glob("examples/*.py"):
        assert path.read_text("utf-8").count("\n") < 60, path.name
