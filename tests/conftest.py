"""What tests of several files stand on."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import saved_model


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a small random generator."""
    return saved_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
