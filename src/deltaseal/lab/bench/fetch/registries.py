"""Packages of PyPI and npm by their ordinary clients, and files of any URL."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from deltaseal.lab.bench.corpus import Origin
from deltaseal.lab.bench.fetch.client import MissingError, ask, last_line

__all__ = ["npm_pack", "pip_download", "url_download"]

_PYTHON = "3.13"
_ABIS = ("cp313", "abi3", "none")
_TIMEOUT = 60  # seconds without a byte
_BROKEN = re.compile(r"after connection broken by '(.*?)'?\)?': /")
_SCHEMES = ("https", "http", "file")


def pip_download(origin: Origin, version: str, into: Path) -> Path:
    """The wheel of a platform. Raises MissingError."""
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    argv += ["--disable-pip-version-check", "--implementation", "cp", "-d", str(into)]
    argv += ["--python-version", origin.python or _PYTHON, "--platform", origin.platform or "any"]
    for abi in origin.abis or _ABIS:
        argv += ["--abi", abi]
    told = ask([*argv, f"{origin.package}=={version}"])
    got = sorted(into.glob("*.whl"))
    if not told.good or not got:
        where = f" for {origin.platform}" if origin.platform else ""
        broken = _BROKEN.search(told.words)  # else pip would say that there is no such version
        why = f"no connection: {broken[1].rpartition('>: ')[2]}" if broken else last_line(told.words)
        raise MissingError(f"PyPI {origin.package} {version}{where}: {why}")
    return got[0]


def npm_pack(origin: Origin, version: str, into: Path) -> Path:
    """The package's tarball. Raises MissingError."""
    argv = ["npm", "pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", str(into)]
    told = ask([*argv, f"{origin.package}@{version}"], folder=into)
    got = sorted(into.glob("*.tgz"))
    if not told.good or not got:
        raise MissingError(f"npm {origin.package} {version}: {last_line(_npm_reason(told.words))}")
    return got[0]


# What npm says of itself, not of what went wrong: where its log lies, which code that is.
_NPM_ASIDE = re.compile("complete log|error code|error syscall|error errno")


def _npm_reason(words: str) -> str:
    """The first line that says what went wrong: advice and traces follow it."""
    lines = (line for line in words.splitlines() if "npm error" in line and not _NPM_ASIDE.search(line))
    return next(lines, words)


def url_download(url: str, into: Path) -> Path:
    """The file behind a URL, https, http or file. Raises MissingError."""
    from urllib.error import URLError
    from urllib.parse import urlsplit
    from urllib.request import urlopen

    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise MissingError(f"{url}: a URL begins with https:, http: or file:")
    to = into / (Path(parts.path).name or "download")
    try:
        with urlopen(url, timeout=_TIMEOUT) as answer, to.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
    except (URLError, OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise MissingError(f"{url}: {getattr(why, 'strerror', None) or why}") from error
    return to
