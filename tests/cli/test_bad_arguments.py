"""Every file argument of every command, given what it must not be: one line, an exit code, nothing lost.

The table holds commands that succeed. Each word that stands for a file says what may not replace it;
each replacement is tried alone.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.command import Ran, as_nobody, deltaseal, snapshot

from .conftest import ONLINE, RELEASE


@dataclass(frozen=True, slots=True)
class Given:
    """A file that a command is given, and which damages it must notice."""

    name: str
    damages: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


ANY_FILE = ("missing", "directory", "unreadable")  # whose content may be anything
SHAPED = (*ANY_FILE, "empty", "cut", "foreign", "swapped")  # whose content has a form
EXACT = (*SHAPED, "flipped")  # of which every bit counts
A_TREE = ("missing", "file", "unreadable")


def any_file(name: str) -> Given:
    return Given(name, ANY_FILE)


def shaped(name: str) -> Given:
    return Given(name, SHAPED)


def exact(name: str) -> Given:
    return Given(name, EXACT)


def tree(name: str) -> Given:
    return Given(name, A_TREE)


Word = str | Given

KEYS: tuple[Word, ...] = ("--key", shaped(RELEASE[1]), "--key", shaped(RELEASE[3]))
PERSONAL: tuple[Word, ...] = ("--key", shaped(ONLINE[1]), "--key", shaped(ONLINE[3]))
TRUST: tuple[Word, ...] = ("--trust", shaped("trust.json"))  # pinned: nothing says what it must be
OUT: tuple[Word, ...] = ("-o", "out")
STORE: tuple[Word, ...] = ("--store", "device")
RELEASED = ("--id", "macos-26.3.1-a", "--letter", "a", "--build", "25D771280a", "--sequence", "1")
RELAUNCH = ("--activation", "relaunch")

COMMANDS: dict[str, tuple[Word, ...]] = {
    "diff": ("diff", any_file("old"), any_file("new"), *OUT),
    "diff trees": ("diff", tree("tree"), tree("tree-fixed"), *OUT),
    "apply": ("apply", Given("old", (*EXACT,)), exact("image.delta"), *OUT),
    "apply trees": ("apply", tree("tree"), exact("tree.delta"), *OUT),
    "inspect": ("inspect", Given("a.bundle", ("missing", "unreadable", "empty", "cut", "foreign"))),
    "verify": ("verify", exact("a.bundle"), *TRUST),
    "verify a delta": ("verify", shaped("image.delta"), "--old", exact("old"), "--new", exact("new")),
    "keys public": ("keys", "public", shaped("release.ed25519.pem")),
    "keys trust": (
        *("keys", "trust", "--role", "personaliser", shaped("online.ed25519.pub")),
        *("--role", "personaliser", shaped("online.ml-dsa-65.pub"), *OUT),
    ),
    "bundle build": (
        *(
            "bundle",
            "build",
            "--base",
            exact("macos.base"),
            *TRUST,
            *RELEASED,
            *RELAUNCH,
            "--fixes",
            shaped("fixes.toml"),
        ),
        *("--component", "app", tree("tree/app"), tree("tree-fixed/app"), *OUT),
    ),
    "bundle sign": ("bundle", "sign", exact("unsigned.bundle"), *KEYS, *OUT),
    "bundle take-signatures": (
        *("bundle", "take-signatures", Given("a.bundle", SHAPED), exact("unsigned.bundle"), *OUT),
    ),
    "manifest base": (
        *("manifest", "base", "--os", "macos", "--version", "26.3.1", "--build", "25D2128"),
        *("--component", "app", tree("tree/app"), *KEYS, *OUT),
    ),
    "manifest issue": (
        *(
            "manifest",
            "issue",
            shaped("a.bundle"),
            *TRUST,
            "--request",
            shaped("request.json"),
            *PERSONAL,
            *OUT,
        ),
    ),
    "manifest catalogue": (
        *("manifest", "catalogue", "--os", "macos", "--serial", "1", *TRUST, "--base", exact("macos.base")),
        *("--bundle", shaped("a.bundle"), "250", *KEYS, *OUT),
    ),
    "device create": (
        *(
            "device",
            "create",
            "--store",
            "out",
            "--base",
            exact("macos.base"),
            "--from",
            tree("tree"),
            *TRUST,
        ),
        *("--model", "Mac15,6"),
    ),
    "device update": ("device", "update", *STORE, "--source", tree("offers")),
    "device install": ("device", "install", "macos-26.3.1-a", *STORE, "--source", tree("offers")),
}


def damaged(here: Path, name: str, damage: str) -> str:
    """Make a damaged copy of a file beside it; returns its name."""
    bad = here / "bad"
    source = here / name
    data = source.read_bytes() if source.is_file() else b""
    # A place in the middle, but before the payloads of a bundle, which not every command reads.
    middle = min(len(data) // 2, 400)
    contents = {
        "empty": b"",
        "cut": data[:middle],
        "foreign": b"\x7fELF" + bytes(2_000),
        "flipped": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :] if data else b"",
        "unreadable": data,
        "file": b"a file",
    }
    if damage == "directory":
        bad.mkdir()
    elif damage == "swapped":
        shutil.copy(here / ("tree.delta" if name == "request.json" else "request.json"), bad)
    elif damage == "unreadable" and source.is_dir():
        shutil.copytree(source, bad)
    elif damage != "missing":
        bad.write_bytes(contents[damage])
        bad.chmod(0o600)  # as a key must be
    return "bad"


def test_the_commands_of_the_table_succeed(here: Path) -> None:
    for title, words in COMMANDS.items():
        ran = deltaseal(*words)
        assert ran.code == 0, (title, ran.err)
        remove(here / "out")


@pytest.mark.parametrize("title", COMMANDS)
def test_a_bad_file_is_refused_and_nothing_is_lost(here: Path, title: str) -> None:
    words = COMMANDS[title]
    given = [(place, word) for place, word in enumerate(words) if isinstance(word, Given)]
    for place, word in given:
        for damage in word.damages:
            bad = damaged(here, word.name, damage)
            refuse(here, [*words[:place], bad, *words[place + 1 :]], damage)
            remove(here / bad)


def refuse(here: Path, words: list[Word], damage: str) -> None:
    """Run a command that must refuse; nothing may change."""
    before = snapshot(here)
    ran = run_without_leave(here / "bad", words) if damage == "unreadable" else deltaseal(*words)
    what = (words, damage, ran)
    assert ran.code not in (0, 1), what
    assert ran.out == "", what
    assert ran.err.startswith("deltaseal: E_"), what
    assert ran.err.count("\n") == 1, what
    assert snapshot(here) == before, what


def run_without_leave(bad: Path, words: list[Word]) -> Ran:
    """Run a command while one path may not be read."""
    bad.chmod(0)
    with as_nobody():
        ran = deltaseal(*words)
    bad.chmod(0o755)
    return ran


def remove(path: Path) -> None:
    """Take a path away, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
