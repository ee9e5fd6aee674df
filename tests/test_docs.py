"""What is promised in words is run: the README, the commands' help, the docstrings' examples."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from commands import done, saved_model

from infinite_render.cli.main import COMMANDS, main

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "infinite_render"
README = (ROOT / "README.md").read_text("utf-8")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py" and "_models" not in path.parts
)
# Run as they stand, in this order, but for their sizes; of the others the words are checked.
RUN = ("generate", "export", "info")


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None
    return found


def examples(name: str) -> list[list[str]]:
    """The commands that a command's help ends with, as words."""
    lines = (command(name).epilog or "").splitlines()
    return [shlex.split(line) for line in lines if line.strip().startswith("infrender ")]


def blocks(language: str) -> list[str]:
    """The README's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def readme_commands() -> list[list[str]]:
    """Every command of infrender in the README, as words."""
    lines = [part.strip() for block in blocks("sh") for part in re.split(r"\n|&&", block)]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("infrender ")]


def small(words: list[str]) -> list[str]:
    """The same command with every size a few dozen pixels, and without its first word."""
    text = shlex.join(words[1:])
    return shlex.split(re.sub(r"--(width|height) \d+", r"--\1 48", text))


def parsed(words: list[str]) -> None:
    """Check that a command's options and arguments are ones it has."""
    command(words[1]).make_context(words[1], words[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_imperative_help_and_an_example(name: str) -> None:
    help_text = command(name).help or ""
    sentence = help_text.split("\n\n")[0].replace("\n", " ")
    assert re.fullmatch(r"[A-Z][a-z]*(?<!s)(?<!ing)(?<!ed) .*\.", sentence), sentence
    assert examples(name)
    for words in examples(name):
        assert words[1] == name
        parsed(words)
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name}: {parameter.opts}"


def test_the_examples_of_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done("generate", "--width", 48, "--height", 48, "wall.zarr")
    for name in RUN:
        for words in examples(name):
            done(*small(words))


def test_the_readmes_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved_model(Path("run/model"))  # what its training would have left
    assert readme_commands()
    for words in readme_commands():
        parsed(words)
        if words[1] in RUN:
            done(*small(words))
    assert (tmp_path / "out.tif").exists()


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for block in blocks("python"):
        subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True, env=env)


def test_the_readmes_first_commands_are_all_there_is_to_installing() -> None:
    install, test = blocks("sh")[:2]
    assert install.startswith("pip install -r requirements.txt -e . && infrender generate")
    assert test.strip() == (ROOT / ".ci" / "run").read_text().splitlines()[-1].replace(
        " --quiet", ""
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=]", need)[0] for need in project["dependencies"]}
    extra = {re.split(r"[\[<>=]", need)[0] for need in project["optional-dependencies"]["test"]}
    assert pinned("requirements.txt") == declared
    assert pinned("requirements-dev.txt") == extra - {"infrender"}


def pinned(name: str) -> set[str]:
    """The packages that a file of requirements pins, each to one version."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line[0] not in "#-"]
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines), lines
    return {line.split("==")[0] for line in lines}


def test_the_readme_is_short_and_its_paths_exist() -> None:
    assert README.count("\n") < 120
    assert max(map(len, README.splitlines())) <= 110
    tree = re.search(r"## The tree\n\n```\n(.*?)```", README, re.DOTALL)
    assert tree is not None
    for line in tree[1].splitlines():
        base = PACKAGE if line.startswith("  ") else ROOT
        for name in re.findall(r"^ *((?:[\w.]+(?:/|\.py) ?)+) ", line + " ")[0].split():
            assert (base / name).exists(), name


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_is_described(module: str) -> None:
    file = importlib.import_module(module).__file__
    assert file is not None
    tree = ast.parse(Path(file).read_text("utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name}"
