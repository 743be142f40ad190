"""The example for C programs: built from what is installed for them, it applies every golden delta."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from native.images import driver

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "spec" / "golden"
NAMES = sorted(delta.stem for delta in GOLDEN.glob("*.delta"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("prefix")
    built = driver("dump_image").parent
    subprocess.run(["cmake", "--install", built, "--prefix", prefix], check=True, capture_output=True)
    told = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "deltaseal"],
        env={**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")},
        check=True,
        capture_output=True,
        text=True,
    )
    source, output = ROOT / "examples" / "apply.c", prefix / "apply"
    strict = ("-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    subprocess.run(["cc", *strict, source, "-o", output, *told.stdout.split()], check=True)
    return output


def apply(program: Path, *arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_it_applies_every_golden_delta(program: Path, tmp_path: Path, name: str) -> None:
    old, delta, new = (GOLDEN / f"{name}.{kind}" for kind in ("old", "delta", "new"))
    ran = apply(program, old, delta, tmp_path / "out")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (tmp_path / "out").read_bytes() == new.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_there_are_golden_deltas() -> None:
    assert {"plain", "x86-64", "aarch64", "mach-o"} <= set(NAMES)


def test_it_refuses_with_our_exit_codes_and_leaves_nothing(program: Path, tmp_path: Path) -> None:
    old, delta = GOLDEN / "x86-64.old", GOLDEN / "x86-64.delta"
    cut, changed, out = tmp_path / "cut", tmp_path / "changed", tmp_path / "out" / "new"
    cut.write_bytes(delta.read_bytes()[:-9])
    changed.write_bytes(old.read_bytes()[:-1] + b"x")
    out.parent.mkdir()
    refusals = {
        (old, cut, out): 18,
        (changed, delta, out): 13,
        (tmp_path / "none", delta, out): 22,
        (old, delta, tmp_path / "no" / "folder"): 22,
        (old, delta): 2,
    }
    for arguments, code in refusals.items():
        ran = apply(program, *arguments)
        assert ran.returncode == code, ran.stderr
        assert ran.stderr.startswith("apply: ") and not ran.stdout
    assert list(out.parent.iterdir()) == []
