"""A small publisher in a folder, made with the command line itself: keys, base, bundle, offers, device."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from support.command import must

RELEASE = ("--key", "release.ed25519.pem", "--key", "release.ml-dsa-65.pem")
ONLINE = ("--key", "online.ed25519.pem", "--key", "online.ml-dsa-65.pem")
FIXES = """\
[[cves]]
cve = "CVE-2026-20643"
component = "app"
title = "WebKit"
impact = "Processing maliciously crafted web content may bypass Same Origin Policy"
"""


def fill(folder: Path) -> None:
    """Make everything that the tests name, with plain names, in ``folder``, which is the current one."""
    old = random.Random(1).randbytes(20_000)
    new = old[:5_000] + b"fixed" + old[5_005:] + b"more"
    for name, data, note in (("tree", old, "one"), ("tree-fixed", new, "two")):
        (folder / name / "app" / "lib").mkdir(parents=True)
        (folder / name / "app" / "lib" / "engine.so").write_bytes(data)
        (folder / name / "app" / "note.txt").write_text(note)
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    (folder / "other").write_bytes(random.Random(2).randbytes(20_000))
    (folder / "empty").write_bytes(b"")
    (folder / "fixes.toml").write_text(FIXES)
    must("diff", "old", "new", "-o", "image.delta")
    must("diff", "tree", "tree-fixed", "-o", "tree.delta")
    _sign_everything()
    (folder / "offers").mkdir()
    shutil.copy(folder / "a.bundle", folder / "offers")
    must("manifest", "issue", "a.bundle", "--trust", "trust.json", *ONLINE, "-o", "offers/a.manifest")
    must(*_catalogue("offers/macos.catalogue"))
    must(*create("device"))
    must("device", "request", "--store", "device", "-o", "request.json")


def _sign_everything() -> None:
    roles = []
    for role, name in (("release:macos", "release"), ("personaliser", "online")):
        for algorithm in ("ed25519", "ml-dsa-65"):
            must("keys", "generate", "--algorithm", algorithm, "-o", f"{name}.{algorithm}.pem")
            must("keys", "public", f"{name}.{algorithm}.pem", "-o", f"{name}.{algorithm}.pub")
            roles += ["--role", role, f"{name}.{algorithm}.pub"]
    must("keys", "trust", *roles, "-o", "trust.json")
    must(*base("macos.base"))
    must(*build("unsigned.bundle"))
    must("bundle", "sign", "unsigned.bundle", *RELEASE, "-o", "a.bundle")


def base(output: str) -> list[str]:
    """The command that makes the base."""
    facts = ["--os", "macos", "--version", "26.3.1", "--build", "25D2128", "--component", "app", "tree/app"]
    return ["manifest", "base", *facts, *RELEASE, "-o", output]


def build(output: str, *more: str) -> list[str]:
    """The command that builds the bundle."""
    known = ["--base", "macos.base", "--trust", "trust.json", "--fixes", "fixes.toml"]
    facts = ["--id", "macos-26.3.1-a", "--letter", "a", "--build", "25D771280a", "--sequence", "1"]
    facts += ["--model", "Mac15,6", "--activation", "relaunch", "--process", "Safari"]
    component = ["--component", "app", "tree/app", "tree-fixed/app"]
    return ["bundle", "build", *known, *facts, *component, "-o", output, *more]


def create(store: str) -> list[str]:
    """The command that makes a device."""
    of = ["--base", "macos.base", "--from", "tree", "--trust", "trust.json", "--model", "Mac15,6"]
    return ["device", "create", "--store", store, *of]


def _catalogue(output: str) -> list[str]:
    of = ["--os", "macos", "--serial", "1", "--trust", "trust.json", "--base", "macos.base"]
    return ["manifest", "catalogue", *of, "--bundle", "a.bundle", "250", *RELEASE, "-o", output]


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publisher")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        fill(folder)
    return folder


@pytest.fixture
def here(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the publisher's folder of one's own; it is the current one."""
    folder = tmp_path / "here"
    shutil.copytree(_made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return folder
