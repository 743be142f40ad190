"""The run of a fetch: one download of a package serves every side that lies in it; each side is checked."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deltaseal.lab.bench.corpus import Origin, Pair, Side
from deltaseal.lab.bench.fetch.apt import Apt
from deltaseal.lab.bench.fetch.archives import take, thin
from deltaseal.lab.bench.fetch.client import MissingError
from deltaseal.lab.bench.fetch.digests import digest_of
from deltaseal.lab.bench.fetch.registries import npm_pack, pip_download, url_download

__all__ = ["Fetched", "fetch"]


@dataclass(slots=True)
class Fetched:
    """What came of it. ``missing`` and ``wrong`` map pairs to a line; ``digests`` is what was found."""

    pairs: int
    fetched: int = 0
    bytes: int = 0  # of packages
    missing: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    digests: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What could not be had, or is not what the list says."""
        return [
            *(f"{name}: skipped: {why}" for name, why in self.missing.items()),
            *(f"{name}: WRONG {why}" for name, why in self.wrong.items()),
        ]


@dataclass(frozen=True, slots=True)
class _Use:
    """A side of a pair that a package holds."""

    pair: Pair
    origin: Origin
    side: str

    @property
    def version(self) -> str:
        return self.origin.sides[self.side].version

    @property
    def package(self) -> tuple[str, ...]:
        """Uses with the same value are served by one download."""
        o = self.origin
        variant = (self.pair.arch,) if o.source == "apt" else (o.platform, o.python, *o.abis)
        return (o.source, o.package, self.version, *variant)


def is_good(pair: Pair) -> bool:
    """Whether both sides are here and are what the list says."""
    if pair.origin is None:
        return pair.is_here
    for name, side in pair.origin.sides.items():
        place = pair.old if name == "old" else pair.new
        if not (place.is_dir() if pair.is_tree else place.is_file()):
            return False
        if digest_of(place) != (side.sha256, side.bytes):
            return False
    return True


def fetch(
    pairs: Sequence[Pair],
    folder: Path,
    *,
    check: bool = True,
    say: Callable[[str], None] = lambda words: None,
) -> Fetched:
    """Bring the pairs below ``folder``; those that are there and good are left alone.

    With ``check=False`` digests are noted, not checked: to fill in a new pair. A pair that cannot be had is
    named in the result, it does not stop the others.
    """
    folder = folder.absolute()  # clients run in folders of their own
    folder.mkdir(parents=True, exist_ok=True)
    result = Fetched(len(pairs))
    todo = [pair for pair in pairs if not check or not is_good(pair)]
    result.missing = {pair.name: "it has no source" for pair in todo if pair.origin is None}
    uses = [_Use(p, p.origin, side) for p in todo if p.origin is not None for side in ("old", "new")]
    with tempfile.TemporaryDirectory(prefix="fetch.", dir=folder) as scratch:
        clients = _Clients(Path(scratch), uses)
        for package in dict.fromkeys(use.package for use in uses):
            say(" ".join(package[1:3]).strip())
            _package([use for use in uses if use.package == package], clients, result, check=check)
    result.fetched = sum(pair.name not in result.missing | result.wrong for pair in todo)
    return result


class _Clients:
    """Starts the client that a source needs; apt is set up once, when first asked."""

    def __init__(self, scratch: Path, uses: Iterable[_Use]) -> None:
        self.scratch = scratch
        debian = [use for use in uses if use.origin.source == "apt"]
        self._suites = {suite for use in debian for suite in use.origin.suites}
        self._architectures = {use.pair.arch for use in debian}
        self._apt: Apt | MissingError | None = None

    def download(self, use: _Use, into: Path) -> Path:
        origin, version = use.origin, use.version
        match origin.source:
            case "apt":
                return self._debian().download(origin.package, use.pair.arch, version, into)
            case "pip":
                return pip_download(origin, version, into)
            case "npm":
                return npm_pack(origin, version, into)
            case _:
                return url_download(version, into)

    def _debian(self) -> Apt:
        if self._apt is None:
            try:
                self._apt = Apt(self.scratch / "apt", self._suites, self._architectures)
            except MissingError as error:
                self._apt = error
        if isinstance(self._apt, MissingError):
            raise self._apt
        return self._apt


def _package(uses: Sequence[_Use], clients: _Clients, result: Fetched, *, check: bool) -> None:
    with tempfile.TemporaryDirectory(dir=clients.scratch) as place:
        into = Path(place)
        try:
            archive = clients.download(uses[0], into)
            result.bytes += archive.stat().st_size
        except (MissingError, OSError) as error:
            for use in uses:
                result.missing.setdefault(use.pair.name, str(error))
            return
        for use in uses:
            try:
                _side(use, archive, into, result, check=check)
            except (MissingError, OSError) as error:
                result.missing.setdefault(use.pair.name, str(error))


def _listed(side: Side) -> str:
    if side.sha256 and side.bytes is not None:
        return f"the list has {side.sha256}, {side.bytes}"
    return "the list has none yet: benchmarks/corpus/fetch --hashes prints what to fill in"


def _side(use: _Use, archive: Path, into: Path, result: Fetched, *, check: bool) -> None:
    side = use.origin.sides[use.side]
    part = Path(tempfile.mkdtemp(dir=into), "part")
    if use.pair.is_tree:
        part.mkdir()
    take(archive, side.member, part, is_tree=use.pair.is_tree)
    if use.origin.slice:
        thin(part, use.origin.slice)
    found = digest_of(part)
    result.digests[use.pair.name, use.side] = found
    place = use.pair.old if use.side == "old" else use.pair.new
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    if check and found != (side.sha256, side.bytes):
        place.unlink(missing_ok=True)
        result.wrong[use.pair.name] = f"{use.side}: SHA-256 {found[0]}, {found[1]} bytes; {_listed(side)}"
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    os.replace(part, place)
