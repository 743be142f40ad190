"""The tools that are measured: one row each. Every one runs in a process of its own.

Words in braces are filled in for each run: ``{old}``, ``{new}``, ``{delta}``, and ``{python}``, the
interpreter of the runner; any other brace stays as it is. Peers are named as in benchmarks/corpus/peers.csv
where the settings are the same.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaseal.errors import UsageError

__all__ = ["OURS", "Tool", "asked_peers", "ours", "peers"]

OURS = "deltaseal"  # our tool's name at the default effort; at another a dash and the effort follow

_PLACE = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Tool:
    """How one tool makes a delta and applies it.

    ``start`` is a call that does nothing but start the tool: what it takes is subtracted.
    ``package`` is the Python package it needs; ``takes_trees`` tells whether it takes directories
    itself; others are given a plain tar of each tree.
    """

    name: str
    settings: str
    create: tuple[str, ...]
    apply: tuple[str, ...]
    start: tuple[str, ...]
    package: str = ""
    takes_trees: bool = False

    @property
    def lacks(self) -> str:
        """What is missing on this machine to run the tool; empty where nothing is."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"Python package {self.package}"
        for program in (self.create[0], self.apply[0]):
            if program != "{python}" and shutil.which(program) is None:
                return f"program {program}"
        return ""

    def argv(self, call: tuple[str, ...], **places: Path) -> list[str]:
        """A call with its places filled in."""
        words = {"python": sys.executable, **{name: str(place) for name, place in places.items()}}
        return [_PLACE.sub(lambda found: words.get(found[1], found[0]), word) for word in call]


def ours(command: Path, *, effort: str = "default") -> Tool:
    """The installed command ``deltaseal`` as a tool."""
    program = str(command)
    return Tool(
        name=OURS if effort == "default" else f"{OURS}-{effort}",
        settings=effort,
        create=(program, "diff", "{old}", "{new}", "-o", "{delta}", "--effort", effort),
        apply=(program, "apply", "{old}", "{delta}", "-o", "{new}"),
        start=(program, "--version"),
        takes_trees=True,
    )


def _python(package: str, name: str, settings: str, create: str, apply: str) -> Tool:
    """A peer that is a Python package: a call is a statement over the paths old, new and delta."""
    prelude = f"import sys, {package}; from pathlib import Path; a, b, c = map(Path, sys.argv[1:]); "
    return Tool(
        name=name,
        settings=settings,
        create=("{python}", "-I", "-c", prelude + create, "{old}", "{new}", "{delta}"),
        apply=("{python}", "-I", "-c", prelude + apply, "{old}", "{new}", "{delta}"),
        start=("{python}", "-I", "-c", f"import sys, {package}; from pathlib import Path"),
        package=package,
    )


def _zstd(name: str, *level: str) -> Tool:
    common = ("zstd", "-q", "-f", "--long=31", "--patch-from={old}")
    return Tool(
        name=name,
        settings=" ".join((*level, "--long=31 --patch-from")),
        create=(*common, *level, "{new}", "-o", "{delta}"),
        apply=(*common, "-d", "{delta}", "-o", "{new}"),
        start=("zstd", "--version"),
    )


_XDELTA3 = "-9 -S djw -B 536870912 -W 16777216 -I 0"
_HDIFFZ = "-m-1 -SD -c-lzma2-9"


def peers(*, hdiffz: str = "hdiffz") -> tuple[Tool, ...]:
    """Every tool that deltaseal is measured beside; ``hdiffz`` is the program HDiffPatch builds, if any."""
    return (
        _python(
            "bsdiff4",
            "bsdiff4",
            "PyPI",
            "bsdiff4.file_diff(*map(str, (a, b, c)))",
            "bsdiff4.file_patch(*map(str, (a, b, c)))",
        ),
        _python(
            "hdiffpatch",
            "hdiffpatch",
            "PyPI, compression lzma2",
            "c.write_bytes(hdiffpatch.diff(a.read_bytes(), b.read_bytes(), compression='lzma2'))",
            "b.write_bytes(hdiffpatch.apply(a.read_bytes(), c.read_bytes()))",
        ),
        Tool(
            name="hdiffz-lzma2",
            settings=_HDIFFZ,
            create=(hdiffz, *_HDIFFZ.split(), "-f", "{old}", "{new}", "{delta}"),
            apply=(hdiffz, "--patch", "-f", "{old}", "{delta}", "{new}"),
            start=(hdiffz, "-v"),
        ),
        _zstd("zstd19patch", "-19"),
        _zstd("zstd22patch", "--ultra", "-22"),
        Tool(
            name="xdelta3",
            settings=f"-e {_XDELTA3}",
            create=("xdelta3", "-e", *_XDELTA3.split(), "-f", "-s", "{old}", "{new}", "{delta}"),
            apply=("xdelta3", "-d", "-B", "536870912", "-f", "-s", "{old}", "{delta}", "{new}"),
            start=("xdelta3", "-V"),
        ),
        Tool(
            name="bsdiff",
            settings="Debian",
            create=("bsdiff", "{old}", "{new}", "{delta}"),
            apply=("bspatch", "{old}", "{new}", "{delta}"),
            start=("true",),
        ),
        _python(
            "detools",
            "detools",
            "PyPI, sequential, lzma",
            "detools.create_patch_filenames(*map(str, (a, b, c)))",
            "detools.apply_patch_filenames(*map(str, (a, c, b)))",
        ),
    )


def asked_peers(names: Sequence[str], more: Sequence[Tool] = ()) -> tuple[list[Tool], str]:
    """The peers of these names, ``more`` tools among them, and what was left out, with what it lacks.

    ``all`` are those that this machine has. The environment's HDIFFZ names HDiffPatch's own program.
    Raises UsageError for an unknown name, or one asked for by name that lacks something.
    """
    every = {tool.name: tool for tool in (*peers(hdiffz=os.environ.get("HDIFFZ", "hdiffz")), *more)}
    every_one = "all" in names
    asked = list(every) if every_one else list(dict.fromkeys(names))
    unknown = [name for name in asked if name not in every]
    if unknown:
        raise UsageError(f"no such peer: {', '.join(unknown)}", hint=f"known: {', '.join(every)}")
    lacking = {name: every[name].lacks for name in asked if every[name].lacks}
    text = "; ".join(f"{name} lacks {what}" for name, what in lacking.items())
    if lacking and not every_one:
        known = all(name not in {tool.name for tool in more} for name in lacking)
        hint = "pip install 'deltaseal[bench]'; apt-get install bsdiff xdelta3 zstd" if known else ""
        raise UsageError(text, hint=hint or "install it, or name the program by its whole path")
    return [every[name] for name in asked if name not in lacking], text
