"""What a run was made on and with: processor, system, versions, and the commit where there is one."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deltaseal.lab.bench.process import measure
from deltaseal.lab.bench.tools import Tool

__all__ = ["command_line", "machine", "versions"]

_PACKAGES = ("deltaseal", "zstandard")
_VERSION = re.compile(r"\bv?([0-9]+(?:\.[0-9]+)+)")


def machine() -> dict[str, str]:
    """Facts by name, in the order in which reports state them."""
    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.1f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    facts |= {package: found for package in _PACKAGES if (found := _package(package))}
    facts |= {"libzstd": _libzstd(), "commit": _commit()}
    return {name: value for name, value in facts.items() if value}


def versions(tools: Iterable[Tool]) -> dict[str, str]:
    """Tool to its version: of its package, else what its start says; unknown ones are left out."""
    found = {tool.name: _package(tool.package) or _said(tool) for tool in tools}
    return {name: words for name, words in found.items() if words}


def _package(name: str) -> str:
    try:
        return version(name) if name else ""
    except PackageNotFoundError:
        return ""


def _said(tool: Tool) -> str:
    found = _VERSION.search(measure(tool.argv(tool.start)).output)
    return found[1] if found else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (text.partition(": ")[2] for text in lines if text.startswith("model name"))
    return next(names, platform.machine())


def _libzstd() -> str:
    import zstandard

    return ".".join(map(str, zstandard.ZSTD_VERSION))


def _commit() -> str:
    """Of the checkout that this module lies in; empty for an installed package."""
    here = Path(__file__).resolve()
    top = next((folder for folder in here.parents if (folder / ".git").exists()), None)
    if top is None or not (top / "native").is_dir():
        return ""
    asked = ["git", "-C", str(top), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""


def command_line() -> str:
    """The command that runs, as it can be typed again."""
    name = Path(sys.argv[0]).name
    return shlex.join([name if name != "__main__.py" else "python -m deltaseal.lab", *sys.argv[1:]])
