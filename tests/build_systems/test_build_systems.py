"""What build systems rely on: silence, depfiles, and the examples, which are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import deltaseal, must
from support.matrices import fill

EXAMPLES = Path(__file__).parents[2] / "examples" / "build-systems"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two trees, and the command on the path; it is the current one."""
    for side, text in (("old", b"one"), ("new", b"two")):
        (tmp_path / side / "a lib").mkdir(parents=True)
        (tmp_path / side / "a lib" / "engine#1.so").write_bytes(text * 2_000)
        (tmp_path / side / "cost$.txt").write_bytes(text)
    command = tmp_path / "bin" / "deltaseal"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom deltaseal.cli import main\nmain()\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*command: object, code: int = 0) -> str:
    """Standard output and error together, of a command that ends as it should."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def changed_after(path: Path, output: Path) -> None:
    """Give a file a time that is later than the output's."""
    later = output.stat().st_mtime + 2
    os.utime(path, (later, later))


# ---- silence ---------------------------------------------------------------------------------------------


def test_success_is_silent_where_nobody_reads(here: Path) -> None:
    assert run("deltaseal", "diff", "old", "new", "-o", "d") == ""
    assert run("deltaseal", "apply", "old", "d", "-o", "again") == ""
    assert "applied and compared" in run("deltaseal", "diff", "old", "new", "-o", "e", "--verbose")


def test_a_person_at_a_terminal_is_told_unless_quiet(here: Path) -> None:
    told = run("script", "-qec", "deltaseal diff old new -o d", "/dev/null")
    assert "applied and compared" in told
    assert run("script", "-qec", "deltaseal diff -q old new -o e", "/dev/null") == ""


# ---- depfiles --------------------------------------------------------------------------------------------


def test_a_depfile_names_all_that_was_read(here: Path) -> None:
    must("diff", "old", "new", "-o", "d", "--depfile", "d.d")
    rule, *empty = Path("d.d").read_text().split("\n\n")
    assert rule.split(" \\\n  ") == [
        "d:",
        *("old", "old/a\\ lib", "old/a\\ lib/engine\\#1.so", "old/cost$$.txt"),
        *("new", "new/a\\ lib", "new/a\\ lib/engine\\#1.so", "new/cost$$.txt"),
    ]
    assert [line.strip() for line in empty] == [f"{name}:" for name in rule.split(" \\\n  ")[1:]]


def test_a_failure_leaves_no_depfile(here: Path) -> None:
    assert deltaseal("diff", "old", "new", "-o", "old/d", "--depfile", "d.d").code == 2
    assert not Path("d.d").exists()


def test_apply_has_a_depfile_too(here: Path) -> None:
    must("diff", "old", "new", "-o", "d")
    must("apply", "old", "d", "-o", "again", "--depfile", "again.d")
    assert Path("again.d").read_text().startswith("again: \\\n  old \\\n")
    assert "\n  d\n" in Path("again.d").read_text()


# ---- the examples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["make", "ninja", "cmake with make"])
def test_only_what_changed_is_made_again(here: Path, tool: str) -> None:
    if tool == "make":
        shutil.copy(EXAMPLES / "Makefile", here)
        command, delta = ("make", "-s", "delta"), here / "out" / "app.delta"
    else:
        # CMake loses the escapes of # and $ when it translates a depfile.
        for side in ("old", "new"):
            (here / side / "a lib" / "engine#1.so").rename(here / side / "a lib" / "engine.so")
            (here / side / "cost$.txt").rename(here / side / "cost.txt")
        generator = "Ninja" if tool == "ninja" else "Unix Makefiles"
        run("cmake", "-S", EXAMPLES, "-B", "b", "-G", generator, f"-DOLD={here}/old", f"-DNEW={here}/new")
        command, delta = ("cmake", "--build", "b"), here / "b" / "app.delta"
    said = run(*command)
    if tool == "make":
        assert said == ""
    first = delta.stat().st_ino
    run(*command)
    assert delta.stat().st_ino == first
    note = next((here / "new").glob("cost*"))
    note.write_bytes(b"three")
    changed_after(note, delta)
    run(*command)
    second = delta.stat().st_ino
    assert second != first
    next((here / "old" / "a lib").glob("engine*")).unlink()  # no "no rule to make target"
    changed_after(here / "old" / "a lib", delta)
    run(*command)
    assert delta.stat().st_ino != second
    run("deltaseal", "verify", delta, "--old", "old", "--new", "new")


def test_the_makefile_proves_its_delta(here: Path) -> None:
    shutil.copy(EXAMPLES / "Makefile", here)
    assert "tree digest" in run("make", "-s", "again")


def test_the_steps_of_the_workflow_work(here: Path) -> None:
    text = (EXAMPLES / "github-actions.yml").read_text()
    steps = [
        step for step in re.findall(r"^        run: (.*)$", text, re.MULTILINE) if "pip install" not in step
    ]
    assert len(steps) == 3
    fill(here / "project")
    done = subprocess.run(
        ["sh", "-eux", "-c", "\n".join(steps)], cwd=here / "project", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (here / "project" / "deltas" / "matrix.json").exists()
    assert re.search(r"SOURCE_DATE_EPOCH: \"[0-9]+\"", text)
