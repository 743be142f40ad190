"""What an update takes: a bounded piece of memory, and no second copy of a bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.devices import (
    BUILD,
    MODEL,
    World,
    bundle,
    new_device,
    permit,
    release_role,
    signed_base,
    signers,
    trust,
    write_tree,
)

from deltaseal.bundle import ComponentTrees, Release, build, make_base
from deltaseal.device import Device, create
from deltaseal.repo import DirectorySource
from deltaseal.storage import Dir, File, RealDisk

LARGE = 64 << 20  # bytes of the file that does not change
MOST = 80 << 20  # bytes of memory; the interpreter and its libraries take half of it

UPDATE = """
import sys
from dataclasses import replace
from pathlib import Path
from deltaseal.device import open_device
from deltaseal.edge import system_edge
from deltaseal.repo import DirectorySource
edge = replace(system_edge(), now=lambda: int(sys.argv[3]))
print(open_device(Path(sys.argv[1]), edge=edge).update([DirectorySource(Path(sys.argv[2]))]).letter)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_memory_does_not_grow_with_the_component(tmp_path: Path) -> None:
    for version in (0, 1):
        app = write_tree(tmp_path / f"{version}/app", {"lib/engine.so": b"version %d" % version * 1_000})
        with open(app / "data", "wb") as file:
            file.write(b"unchanged" * (LARGE // 9))
    base = make_base("macos", "26.3.1", BUILD, {"app": tmp_path / "0/app"})
    release = Release(
        id="macos-26.3.1-a",
        letter="a",
        build="25D771281a",
        sequence=1,
        issued=bundle("a").manifest.issued,
        models=(MODEL,),
        activation="relaunch",
        processes=("no such program",),
        cves=(),
    )
    changed = {"app": ComponentTrees(tmp_path / "0/app", tmp_path / "1/app")}
    made = build(release, base, changed).signed(signers(release_role("macos")))
    offers = tmp_path / "offers"
    offers.mkdir()
    (offers / "a.bundle").write_bytes(made.to_bytes())
    (offers / "a.manifest").write_bytes(permit(made).to_bytes())
    device = create(
        tmp_path / "d",
        base=signed_base(base),
        trees=tmp_path / "0",
        trust=trust(),
        model=MODEL,
        edge=World().edge(),
    )
    ran = subprocess.run(
        [sys.executable, "-c", UPDATE, device.path, offers, str(World().clock)],
        capture_output=True,
        text=True,
        check=True,
    )
    letter, peak = ran.stdout.split()
    assert letter == "a"
    assert int(peak) * 1024 < MOST


class NotingDisk(RealDisk):
    """Notes the names of all files that are made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def create(self, at: Dir, name: str, mode: int | None = 0o644) -> File:
        """Make a file, and note its name."""
        self.made.append(name)
        return super().create(at, name, mode)


def test_a_bundle_on_a_local_disk_is_read_where_it_lies(tmp_path: Path) -> None:
    world = World()
    offers = tmp_path / "offers"
    offers.mkdir()
    (offers / "a.bundle").write_bytes(bundle("a").to_bytes())
    (offers / "a.manifest").write_bytes(permit(bundle("a")).to_bytes())
    device = new_device(tmp_path / "d", world)
    disk = NotingDisk()
    Device(device.path, edge=world.edge(), disk=disk).update([DirectorySource(offers)])
    payloads = {sha256 for sha256, _ in bundle("a").manifest.payloads()}
    assert disk.made
    assert not payloads.intersection(disk.made)
