"""Somebody else's applier: a careful one passes, careless ones are found wanting, each for what it does."""

from __future__ import annotations

import re
import shutil
import stat
import sys
from pathlib import Path

import pytest

from deltaseal.errors import UsageError
from deltaseal.lab.torture import torture_applier
from deltaseal.lab.torture.foreign.mirror import Mirror
from deltaseal.lab.torture.foreign.trace import Call, run_traced

NAIVE = Path(__file__).parents[2] / "examples" / "naive-applier" / "applier.sh"

# Beside, synced, then one link renamed over another.
CAREFUL = """\
import os, shutil, sys
verb, store, *rest = sys.argv[1:]
def synced(path):
    fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
def point(name):
    beside = f"{store}/.live"
    if os.path.lexists(beside): os.unlink(beside)
    os.symlink(name, beside); os.rename(beside, f"{store}/live"); {SYNC_STORE}
def take(tree, name):
    shutil.rmtree(f"{store}/{name}", ignore_errors=True)
    shutil.copytree(tree, f"{store}/{name}", symlinks=True)
    for top, _, files in os.walk(f"{store}/{name}"):
        for each in files:
            if not os.path.islink(f"{top}/{each}"): {SYNC_FILE}
        synced(top)
    synced(store)
if verb == "create":
    os.mkdir(store); take(rest[0], "old"); point("old")
elif verb == "update":
    if os.readlink(f"{store}/live") != "new":
        take(rest[0], "new"); point("new")
else:
    print(os.path.realpath(f"{store}/live"))
"""
PARTS = {"{SYNC_STORE}": "synced(store)", "{SYNC_FILE}": 'synced(f"{top}/{each}")'}


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old", tmp_path / "new"
    for tree, text in ((old, "one"), (new, "two")):
        (tree / "lib").mkdir(parents=True)
        (tree / "lib" / "engine").write_text(text * 900)
    (new / "lib" / "engine").chmod(0o755)
    (new / "link").symlink_to("lib")
    return old, new


def applier(folder: Path, **without: str) -> str:
    text = CAREFUL
    for name, code in PARTS.items():
        text = text.replace(name, "pass" if name.strip("{}") in without else code)
    (folder / "applier.py").write_text(text)
    return f"{sys.executable} -S {folder / 'applier.py'}"


def test_a_careful_applier_passes(tmp_path: Path, trees: tuple[Path, Path]) -> None:
    report = torture_applier(applier(tmp_path), old=trees[0], new=trees[1], update=trees[1])
    assert report.findings == []
    power, kill = report.parts
    assert power.cuts >= 10 and power.distinct >= 10
    assert power.ended["after the cut: old"] and power.ended["after the cut: new"]
    assert kill.cuts == 20


@pytest.mark.parametrize(
    ("left_out", "what"), [("SYNC_STORE", {"not durable"}), ("SYNC_FILE", {"mixed", "repeat"})]
)
def test_a_missing_sync_is_found(
    tmp_path: Path, trees: tuple[Path, Path], left_out: str, what: set[str]
) -> None:
    report = torture_applier(applier(tmp_path, **{left_out: ""}), old=trees[0], new=trees[1], update=trees[1])
    found = {finding.what for finding in report.parts[0].findings}
    assert found and found <= what | {"mixed"}
    assert report.parts[1].good  # a killed process loses nothing that it wrote


def test_the_naive_example_is_found_wanting(trees: tuple[Path, Path]) -> None:
    report = torture_applier(str(NAIVE), old=trees[0], new=trees[1], update=trees[1])
    assert {"mixed", "not durable", "repeat"} <= {finding.what for _, finding in report.findings}
    assert "STORE/live" in " ".join(finding.sentence for _, finding in report.findings)
    ways = {finding.facts["way"].partition(";")[0] for _, finding in report.findings}
    assert any(re.fullmatch(r"after change \d+(, a write of \w+)?", way) for way in ways), ways


def test_what_cannot_be_tested_is_refused(tmp_path: Path, trees: tuple[Path, Path]) -> None:
    old, new = trees
    with pytest.raises(UsageError, match="is no program"):
        torture_applier("/no/such/thing", old=old, new=new, update=new)
    with pytest.raises(UsageError, match="equal"):
        torture_applier(str(NAIVE), old=old, new=old, update=new)
    with pytest.raises(UsageError, match="`create` did not make"):
        torture_applier(f"{shutil.which('false')}", old=old, new=new, update=new)


# ---- following a command -----------------------------------------------------------------------------------


def followed(folder: Path, script: str) -> tuple[Mirror, list[Call], int]:
    mirror = Mirror(folder)
    calls: list[Call] = []

    def on_call(call: Call) -> None:
        if mirror.after(call):
            calls.append(call)

    status = run_traced(
        [sys.executable, "-S", "-c", f"import os\nos.chdir({str(folder)!r})\n{script}"], on_call
    )
    return mirror, calls, status


def files(mirror: Mirror, keep: str) -> dict[str, bytes]:
    return {path: leaf[1] for path, leaf in mirror.state(keep).leaves.items() if leaf[0] == "file"}  # type: ignore[arg-type,misc]


def test_what_a_command_changes_is_seen_and_what_it_syncs_is_durable(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"before")
    script = """
with open("a", "wb") as file:
    file.write(b"data"); file.flush(); os.fsync(file.fileno())
os.rename("kept", "moved")
"""
    mirror, calls, status = followed(tmp_path, script)
    assert status == 0
    assert [call.kind for call in calls] == ["change", "write", "sync", "change"]
    assert files(mirror, "durable") == {"kept": b"before"}
    assert files(mirror, "visible") == {"a": b"data", "moved": b"before"}


def test_what_a_child_of_the_command_does_is_seen(tmp_path: Path) -> None:
    script = "import subprocess\nsubprocess.run(['cp', '/proc/self/comm', 'copied'])\nos.sync()"
    mirror, _, status = followed(tmp_path, script)
    assert status == 0
    assert files(mirror, "durable") == {"copied": b"cp\n"}


def test_a_file_that_is_cut_short_and_written_again_may_survive_empty(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"before, and longer")
    mirror, _, _ = followed(tmp_path, "open('a', 'wb').write(b'after')")
    found = {tuple(files(mirror, {place: None for place in kept}).values()) for kept in ((), (0,), (0, 1))}
    assert found == {(b"before, and longer",), (b"",), (b"after",)}


def test_modes_and_the_exit_status_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    mirror, _, status = followed(tmp_path, "os.chmod('a', 0o755)\nos._exit(7)")
    assert status == 7
    leaf = mirror.state("visible").leaves["a"]
    assert leaf[2] == stat.S_IMODE(0o755)  # type: ignore[misc]
