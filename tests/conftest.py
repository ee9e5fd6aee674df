"""What tests of several files stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import saved_model
from landscapes import PHOTOGRAPHS, write_landscapes


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a small random generator."""
    return saved_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small landscapes."""
    return write_landscapes(tmp_path_factory.mktemp("photographs"), PHOTOGRAPHS)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch, so that sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
