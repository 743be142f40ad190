"""The examples do what they say: two scripts, and the demonstration on whatever day."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import deltaseal
from deltaseal.manifest import Base
from deltaseal.trust import ALGORITHMS, PrivateKey, Role, Trust, sign

EXAMPLES = Path(__file__).parents[2] / "examples"
EPOCH = 1_773_705_600  # 2026-03-17, seconds since 1970


def script(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts."""
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two versions of a tree."""
    old, new = tmp_path / "old", tmp_path / "new"
    for side, text in ((old, "one"), (new, "two")):
        (side / "lib").mkdir(parents=True)
        (side / "lib" / "engine.so").write_bytes(text.encode() * 2_000)
    return old, new


def test_a_build_system_makes_a_signed_bundle(tmp_path: Path, sides: tuple[Path, Path]) -> None:
    old, new = sides
    keys = [PrivateKey.generate(algorithm) for algorithm in ALGORITHMS]
    role = Role("release:macos", tuple(key.public for key in keys), dict.fromkeys(ALGORITHMS, 1))
    trust = Trust.of(role, expires=EPOCH * 2)
    (tmp_path / "trust.json").write_bytes(trust.dumps())
    base = deltaseal.make_base("macos", "26.3.1", "25D2128", {"app": old})
    (tmp_path / "macos.base").write_bytes(sign(Base.TYPE, base.dumps(), keys).to_bytes())
    files = [tmp_path / f"{key.public.algorithm}.pem" for key in keys]
    for key, path in zip(keys, files, strict=True):
        key.save(path)
    given = [tmp_path / "macos.base", tmp_path / "trust.json", old, new]
    for name in ("a.bundle", "again.bundle"):
        ran = script("make_bundle.py", *given, tmp_path / name, *files, SOURCE_DATE_EPOCH=str(EPOCH))
        assert ran.returncode == 0, ran.stderr
        assert "bundle digest" in ran.stdout
    made = [deltaseal.inspect(tmp_path / name).claims["digest"] for name in ("a.bundle", "again.bundle")]
    assert made[0] == made[1]
    proof = deltaseal.verify(tmp_path / "a.bundle", trust=tmp_path / "trust.json", now=EPOCH)
    assert len(proof.signed_by) == 2


def test_a_harness_applies_with_proof(tmp_path: Path, sides: tuple[Path, Path]) -> None:
    old, new = sides
    delta, out = tmp_path / "tree.delta", tmp_path / "out"
    deltaseal.diff(old, new, delta)
    ran = script("apply_with_proof.py", old, delta, out)
    assert ran.returncode == 0, ran.stderr
    assert (out / "lib" / "engine.so").read_bytes() == (new / "lib" / "engine.so").read_bytes()
    refused = script("apply_with_proof.py", new, delta, tmp_path / "other")
    assert refused.returncode == 13
    assert refused.stderr.startswith("E_BASE: ")
    assert not (tmp_path / "other").exists()


# ---- the demonstration -----------------------------------------------------------------------------------

STEPS = (
    "1  A delta between two versions",
    "2  Keys, and four signed improvements",
    "3  Devices, updated",
    "4  Taken off, and put on again",
    "5  Two broken bytes",
)


def check_what_it_shows(shown: str) -> None:
    """Every promise of the demonstration is in its words."""
    places = [shown.index(step) for step in STEPS]
    assert places == sorted(places)
    for name in ("macOS 26.3.1 (a)", "macOS 26.3.2 (a)", "iOS 26.3.1 (a)", "iPadOS 26.3.1 (a)"):
        assert f"now runs   {name}" in shown
    decided = re.findall(r"decided by (.*)", shown)
    assert decided[0] == "base build: expected 25D2128; found 25D2140"
    assert decided[1].startswith("base digests: expected ")
    assert decided[2] == "model: expected Mac17,5; found Mac15,6"
    assert shown.count("every byte is equal") == 2
    assert re.findall(r"^  found      (E_[A-Z]+)", shown, re.MULTILINE) == [
        "E_DIGEST",
        "E_DIGEST",
        "E_DAMAGED",
    ]
    assert shown.count("byte for byte as before") == 2
    assert "NOT EQUAL" not in shown
    assert "CHANGED" not in shown


def test_the_demonstration_without_a_network(tmp_path: Path) -> None:
    ran = script("demo.py", "--into", tmp_path / "demo", PIP_NO_INDEX="1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    assert len([line for line in ran.stdout.splitlines() if line.startswith("no network")]) == 1
    check_what_it_shows(ran.stdout)
    commands = [line for line in ran.stdout.splitlines() if line.startswith("  $ ")]
    assert all(line.startswith("  $ deltaseal ") for line in commands)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The demonstration as a module."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import demo

    yield demo
    for name in ("demo", "demo_images", "loopback"):
        sys.modules.pop(name, None)


def test_the_demonstration_works_on_any_day_and_again(
    demo: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for now in (1_580_000_000, 2_180_000_000):  # January 2020: a clock that is wrong; January 2039
        edge = replace(deltaseal.system_edge(), now=lambda now=now: now)  # type: ignore[misc]
        demo.run(tmp_path / "demo", edge, offline=True)  # type: ignore[attr-defined]
        check_what_it_shows(capsys.readouterr().out)


def test_the_arm64_slice_of_a_universal_image(demo: object) -> None:
    from demo_images import arm64_slice

    x86, arm = b"x86 code", b"arm code"
    head = struct.pack(
        ">II5I5I", 0xCAFEBABE, 2, 0x01000007, 3, 48, len(x86), 0, 0x0100000C, 0, 56, len(arm), 0
    )
    assert arm64_slice(head + x86 + arm) == arm
    assert arm64_slice(b"a text") == b"a text"
    assert arm64_slice(b"") == b""
    with pytest.raises(ValueError, match="without an arm64 part"):
        arm64_slice(struct.pack(">II5I", 0xCAFEBABE, 1, 0x01000007, 3, 28, 0, 0))
