"""The small matrix, and one that was built."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.matrices import build_here, fill


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    return fill(tmp_path)


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    build_here(fill(folder), folder / "out", folder / "cache")
    return folder


@pytest.fixture
def made(_made: Path, tmp_path: Path) -> Path:
    """A folder with RELEASES.toml, ``out`` and ``cache``, of one's own."""
    folder = tmp_path / "made"
    shutil.copytree(_made, folder)
    return folder
