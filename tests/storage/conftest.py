"""The same tests run on both disks."""

from __future__ import annotations

import pytest

from deltaseal.storage import Disk, RealDisk, SimulatedDisk


@pytest.fixture(params=["real", "simulated"])
def place(request, tmp_path) -> tuple[Disk, object]:
    """A disk and an open, empty directory on it."""
    if request.param == "real":
        disk = RealDisk()
        root = disk.open_root(tmp_path)
    else:
        disk = SimulatedDisk()
        root = disk.open_root("/")
    with root:
        yield disk, root
