"""Debian packages by apt-get, from the mirror of this machine's own apt; its state is not touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from deltaseal.lab.bench.fetch.client import MissingError, ask, last_line

__all__ = ["Apt"]

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_GONE = ("was not found", "Unable to locate")

# Of the machine's own settings only how to reach the mirror: proxies, certificates.
_REACHING = re.compile(r"Acquire::(http|https|ftp|Retries|Check|Proxy)", re.IGNORECASE)


class Apt:
    """An apt of its own in a folder, which knows the suites and architectures asked for."""

    def __init__(self, state: Path, suites: Iterable[str], architectures: Iterable[str]) -> None:
        for name in ("lists/partial", "cache/archives/partial", "state", "empty"):
            (state / name).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        arches = sorted(architectures)
        (state / "sources.list").write_text(_sources(sorted(suites), arches))
        (state / "apt.conf").write_text(_configuration(state, arches))
        self._environment = dict(os.environ, APT_CONFIG=str(state / "apt.conf"), LC_ALL="C")
        told = ask(["apt-get", "update", "-q"], environment=self._environment)
        # One suite that is gone must not take the others with it: go on, remember why.
        self._why = "" if told.good else f" (apt-get update: {_first_error(told.words)})"

    def download(self, package: str, architecture: str, version: str, into: Path) -> Path:
        """The package's file. Raises MissingError, most often since Debian has moved on."""
        wanted = f"{package}:{architecture}={version}"
        told = ask(["apt-get", "download", "-q", wanted], environment=self._environment, folder=into)
        got = sorted(into.glob("*.deb"))
        if told.good and got:
            return got[0]
        name = f"{package}:{architecture} {version}"
        if any(words in told.words for words in _GONE):
            lists = "the package lists that could be had" if self._why else "Debian's suites any more"
            raise MissingError(f"{name} is not in {lists}{self._why}")
        raise MissingError(f"{name}: {last_line(told.words)}{self._why}")


def _first_error(words: str) -> str:
    """The first thing that apt could not do: what follows says only that there was something."""
    errors = [line for line in words.splitlines() if line.startswith(("E:", "W:"))]
    return last_line(errors[0] if errors else words)


def _mirrors() -> tuple[str, str]:
    """The main mirror and the security mirror, as this machine's apt has them."""
    told = ask(["apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)"]).words
    rows = [line.split("|", 1) for line in told.splitlines() if "|" in line]
    if not rows:  # no lists yet: ask where they would come from
        told = ask(["apt-get", "update", "--print-uris"]).words
        rows = [list(found) for found in re.findall(r"^'([^']+)/dists/([^/']+)/InRelease'", told, re.M)]
    debian = [(site, "security" in site + release) for site, release in rows if "debian" in site]
    main = next((site for site, is_security in debian if not is_security), None)
    if main is None:
        raise MissingError("this machine's apt names no Debian mirror")
    security = next((site for site, is_security in debian if is_security), None)
    return main, security or main.rstrip("/") + "-security"


def _sources(suites: Iterable[str], architectures: list[str]) -> str:
    main, security = _mirrors()
    options = "arch=" + ",".join(architectures)
    if _KEYRING.exists():
        options += f" signed-by={_KEYRING}"
    mirrors = ((security if suite.endswith("-security") else main, suite) for suite in suites)
    return "".join(f"deb [{options}] {mirror} {suite} main\n" for mirror, suite in mirrors)


def _configuration(state: Path, architectures: list[str]) -> str:
    lines = [line for line in ask(["apt-config", "dump"]).words.splitlines() if _REACHING.match(line)]
    places = {
        "Dir::State::lists": "lists",
        "Dir::State::status": "status",
        "Dir::State": "state",
        "Dir::Cache": "cache",
        "Dir::Etc::sourcelist": "sources.list",
        "Dir::Etc::sourceparts": "empty",
        "Dir::Etc::preferences": "empty/none",
        "Dir::Etc::preferencesparts": "empty",
        "Dir::Etc::parts": "empty",
        "Dir::Etc::main": "empty/none",
    }
    lines += [f'{key} "{state / place}";' for key, place in places.items()]
    known = " ".join(f'"{name}";' for name in sorted({*architectures, "amd64"}))
    lines += [
        f'APT::Architecture "amd64";\nAPT::Architectures {{ {known} }};',
        'Acquire::Languages "none";\nAcquire::Retries "3";\nAPT::Sandbox::User "";',
        'APT::Update::Error-Mode "any";',  # an update that got less than all says so
        'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";',
    ]
    return "\n".join(lines) + "\n"
