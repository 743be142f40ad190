"""Who still uses what was replaced: judged on values, and on a real process that maps a real old library."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.devices import (
    BUILD,
    MODEL,
    World,
    bundle,
    new_device,
    permit,
    release_role,
    running,
    signed_base,
    signers,
    source,
    trust,
)
from support.devices import (
    base as small_base,
)

from deltaseal.bundle import Bundle, ComponentTrees, Release, build, make_base
from deltaseal.device import Device, create
from deltaseal.device.build_id import build_id
from deltaseal.edge import Edge, Mapping, Process, system_edge
from deltaseal.manifest import Base
from deltaseal.report import ImageUse

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

USER = """
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!dlopen(argv[i], RTLD_NOW)) { puts(dlerror()); return 1; }
    }
    puts("mapped");
    fflush(stdout);
    return getchar() == 0;
}
"""


def compile_library(path: Path, version: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f'int version(void) {{ return {version}; }} const char *words = "version {version}";'
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,--build-id", "-x", "c", "-", "-o", str(path)],
        input=text.encode(),
        check=True,
    )


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a component, with a real library that changes and one that does not; and a user."""
    top = tmp_path_factory.mktemp("real")
    for version in (0, 1):
        compile_library(top / f"{version}/app/lib/engine.so", version)
        compile_library(top / f"{version}/app/lib/codec.so", 7)
    (top / "user.c").write_text(USER)
    subprocess.run(["cc", str(top / "user.c"), "-o", str(top / "Browser"), "-ldl"], check=True)
    return top


@pytest.fixture(scope="module")
def real_base(workshop: Path) -> Base:
    return make_base("macos", "26.3.1", BUILD, {"app": workshop / "0/app"})


@pytest.fixture(scope="module")
def improvement(workshop: Path, real_base: Base) -> Bundle:
    release = Release(
        id="macos-26.3.1-a",
        letter="a",
        build="25D771281a",
        sequence=1,
        issued=small_issue(),
        models=(MODEL,),
        activation="relaunch",
        processes=("Browser",),
        cves=bundle("a").manifest.cves,
    )
    changed = {"app": ComponentTrees(workshop / "0/app", workshop / "1/app")}
    return build(release, real_base, changed).signed(signers(release_role("macos")))


def small_issue() -> int:
    return bundle("a").manifest.issued


Mapper = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def mapper(workshop: Path) -> Iterator[Mapper]:
    """Start the program with libraries to map; it runs until the test ends."""
    started: list[subprocess.Popen[str]] = []

    def start(*libraries: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(workshop / "Browser"), *map(str, libraries)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "mapped\n"
        return process

    yield start
    for process in started:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


@pytest.fixture
def edge() -> Edge:
    """This machine's own processes; the clock and the trial are the test's."""
    world = World().edge()
    real = system_edge()
    return replace(world, processes=real.processes, read_mapped=real.read_mapped)


@pytest.fixture
def device(tmp_path: Path, workshop: Path, real_base: Base, edge: Edge) -> Device:
    return create(
        tmp_path / "d",
        base=signed_base(real_base),
        trees=workshop / "0",
        trust=trust(),
        model=MODEL,
        edge=edge,
    )


def pids(device: Device) -> set[int]:
    return {process.pid for process in device.processes().replaced}


def test_a_real_process_decides_when_the_trial_begins(
    device: Device, improvement: Bundle, mapper: Mapper
) -> None:
    old = mapper(device.path / "active/app/lib/engine.so")
    offer = [source(improvement)]
    status = device.update(offer)
    assert status.state == "WAITING"
    assert status.pending is not None
    assert (status.pending.what, status.pending.processes) == ("relaunch", ("Browser",))
    found = device.processes()
    (user,) = found.replaced
    (image,) = user.images
    assert (user.pid, user.names) == (old.pid, ("Browser",))
    assert (image.component, image.path, image.of) == ("app", "lib/engine.so", "baseline")
    assert image.known_by == "path"
    assert image.build_id != image.build_id_now != ""
    assert (found.using, found.pending, found.relaunch) == ("macos-26.3.1-a", "relaunch", (user.relaunch,))
    assert found.by_origin == {"baseline": ("Browser",)}

    end(old)
    new = mapper(device.path / "active/app/lib/engine.so")
    assert pids(device) == set()
    assert [process.pid for process in device.processes().current] == [new.pid]
    status = device.update(offer)  # the trial; the process lives
    assert (status.state, status.pending) == ("ACTIVE", None)


def test_a_library_that_the_improvement_left_as_it_was_is_not_replaced(
    device: Device, improvement: Bundle, mapper: Mapper
) -> None:
    mapper(device.path / "active/app/lib/codec.so")
    status = device.update([source(improvement)])
    assert status.state == "WAITING"  # it does not use the new state either
    assert status.pending is None
    assert pids(device) == set()


def test_after_removal_the_removed_image_is_known_though_its_file_is_gone(
    device: Device, improvement: Bundle, mapper: Mapper
) -> None:
    device.update([source(improvement)])
    user = mapper(device.path / "active/app/lib/engine.so", device.path / "active/app/lib/codec.so")
    device.remove()
    assert not (device.path / "slot-1").exists()
    (found,) = device.processes().replaced
    assert found.pid == user.pid
    assert [(image.of, image.path) for image in found.images] == [("macos-26.3.1-a", "engine.so")]
    status = device.status()
    assert status.pending is not None
    assert status.pending.processes == ("Browser",)


def test_another_file_with_the_old_bytes_is_known_by_its_build_id(
    device: Device, improvement: Bundle, mapper: Mapper, workshop: Path, tmp_path: Path
) -> None:
    shutil.copy(workshop / "0/app/lib/engine.so", tmp_path / "bundled.so")
    user = mapper(tmp_path / "bundled.so")
    assert device.update([source(improvement)]).state == "WAITING"
    (found,) = device.processes().replaced
    assert (found.pid, [image.known_by for image in found.images]) == (user.pid, ["build-id"])


def test_a_hard_link_is_known_by_device_and_inode(
    device: Device, improvement: Bundle, mapper: Mapper, tmp_path: Path
) -> None:
    (tmp_path / "other.so").hardlink_to(device.path / "baseline/app/lib/engine.so")
    user = mapper(tmp_path / "other.so")
    assert device.update([source(improvement)]).state == "WAITING"
    (found,) = device.processes().replaced
    assert (found.pid, [image.known_by for image in found.images]) == (user.pid, ["device and inode"])


def test_one_look_at_all_processes_is_quick(device: Device, improvement: Bundle, mapper: Mapper) -> None:
    mapper(device.path / "active/app/lib/engine.so")
    device.update([source(improvement)])
    started = time.monotonic()
    device.processes()
    assert time.monotonic() - started < 10


# ---- on values ----------------------------------------------------------------------------------


def test_who_cannot_be_seen_is_counted_and_decides_nothing(tmp_path: Path) -> None:
    world = World()
    device = new_device(tmp_path / "small", world, on=small_base())
    world.processes = [Process(9, frozenset({"Browser"}), (), readable=False)]
    assert device.update([source(bundle("a"))]).state == "ACTIVE"
    assert device.processes().unseen == 1


def test_a_former_baseline_is_told_as_one(tmp_path: Path) -> None:
    world = World()
    device = new_device(tmp_path / "small", world)
    device.update([source(bundle("a"))])
    gone = Mapping(1, 99, str(device.path / "baseline/app/lib/engine.so"), deleted=True)
    world.processes = [Process(9, frozenset({"Browser"}), (gone,), unit="browser.service")]
    (found,) = device.processes().replaced
    assert found.images == (ImageUse("app", "lib/engine.so", "a former baseline", "path", "", ""),)
    assert found.relaunch == "browser.service"


def test_json_has_a_form(tmp_path: Path) -> None:
    world = World()
    device = new_device(tmp_path / "small", world)
    device.update([source(bundle("a"), manifests=[permit(bundle("a"))])])
    world.processes = [running("Editor", device.path / "baseline/app/lib/engine.so")]
    values = device.processes().to_json()
    assert values["format"] == 1
    assert values["relaunch"] == ["Editor"]
    assert values["by_origin"] == {"baseline": ["Editor"]}
    assert values["replaced"][0]["images"][0]["known_by"] == "path"


# ---- the note -----------------------------------------------------------------------------------


def test_the_build_id_is_that_which_the_linker_wrote(workshop: Path) -> None:
    path = workshop / "0/app/lib/engine.so"
    shown = subprocess.run(["readelf", "-n", str(path)], capture_output=True, text=True, check=True).stdout
    data = path.read_bytes()
    assert f"Build ID: {build_id(lambda offset, size: data[offset : offset + size])}\n" in shown


def test_foreign_bytes_have_no_build_id(workshop: Path) -> None:
    data = (workshop / "0/app/lib/engine.so").read_bytes()
    assert build_id(lambda offset, size: b"") == ""
    for cut in (*range(0, 600, 7), len(data) // 2):
        short = data[:cut]
        assert (
            build_id(lambda offset, size, short=short: short[offset : offset + size])
            in (  # type: ignore[misc]
                "",
                build_id(lambda offset, size: data[offset : offset + size]),
            )
        )
    for at in range(0, 64):
        bent = bytearray(data)
        bent[at] ^= 0xFF
        build_id(lambda offset, size, bent=bent: bytes(bent[offset : offset + size]))  # type: ignore[misc]
