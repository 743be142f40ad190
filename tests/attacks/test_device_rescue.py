"""T40: an improvement holds the libraries that the updater itself needs, and they are broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.devices import BUILD, MODEL, World, bundle, release_role, signed_base, signers, source, trust
from support.rescue import rescue

from deltaseal.bundle import Bundle, ComponentTrees, Release, build, make_base
from deltaseal.device import Device, create


def _libc() -> Path:
    with open("/proc/self/maps") as maps:
        return next(Path(line.split()[-1]) for line in maps if "/libc.so.6" in line)


def _tree(top: Path, libc: bytes) -> Path:
    (top / "os/lib").mkdir(parents=True)
    (top / "os/lib/libc.so.6").write_bytes(libc)
    return top


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device(tmp_path: Path, world: World) -> Device:
    good = _tree(tmp_path / "good", _libc().read_bytes())
    made = create(
        tmp_path / "d",
        base=signed_base(make_base("macos", "26.3.1", BUILD, {"os": good / "os"})),
        trees=good,
        trust=trust(),
        model=MODEL,
        edge=world.edge(),
    )
    assert _deltaseal(made).returncode == 0
    return made


def _improvement(tmp_path: Path) -> Bundle:
    """Everything about it is right, signatures too; only the library in it starts nothing."""
    broken = _tree(
        tmp_path / "broken", _libc().read_bytes().replace(b"__libc_start_main", b"__libc_start_mean")
    )
    base = make_base("macos", "26.3.1", BUILD, {"os": tmp_path / "good/os"})
    release = Release(
        id="macos-26.3.1-a",
        letter="a",
        build="25D771281a",
        sequence=1,
        issued=bundle("a").manifest.issued,
        models=(MODEL,),
        activation="restart",
        processes=(),
        cves=(),
    )
    changed = {"os": ComponentTrees(tmp_path / "good/os", broken / "os")}
    return build(release, base, changed).signed(signers(release_role("macos")))


def _deltaseal(device: Device, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The updater as a program of this system: its libraries come out of the component."""
    program = Path(sys.executable).with_name("deltaseal")
    libraries = {"LD_LIBRARY_PATH": str(device.path / "active/os/lib")}
    command = [str(program), "device", *(arguments or ("status",)), "--store", str(device.path)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **libraries}, timeout=60, check=False
    )


def test_T40_component_with_broken_libraries_of_the_updater(
    tmp_path: Path, device: Device, world: World
) -> None:
    good = (device.path / "active/os/lib/libc.so.6").read_bytes()
    assert device.update([source(_improvement(tmp_path))]).state == "WAITING"
    refused = _deltaseal(device)
    assert refused.returncode == 127  # Python itself does not start
    assert "__libc_start_main" in refused.stderr

    for _ in range(4):  # boots that nobody can confirm
        assert rescue(device.path).returncode == 0
    assert (device.path / "active/os/lib/libc.so.6").read_bytes() == good

    shown = _deltaseal(device, "recover")
    assert shown.returncode == 0, shown.stderr
    assert "held" in shown.stdout
    assert "it was not confirmed in four boots" in shown.stdout
    history = _deltaseal(device, "history").stdout
    assert "deltaseal-rescue left slot-1 for the baseline" in history
    assert _deltaseal(device, "verify").returncode == 0
