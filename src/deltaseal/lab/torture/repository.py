"""The repository of the built-in scenario, and what a device believes of it before its news and after.

TUF is loaded by whoever asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deltaseal.lab.torture.stock import DAY, Stock, harness_keys
from deltaseal.manifest import PERSONALISER, release_role
from deltaseal.repo import DiskFolder, Lifetimes, Publisher, Repository, bring_up_to_date, first_files, layout
from deltaseal.storage import ByteSource, BytesSource, MissingError, SimulatedDisk
from deltaseal.trust import ALGORITHMS, Role, Trust

__all__ = ["Believed", "publish_news"]

_PLACE = "repository"
# python-tuf looks at the clock of this machine, the device at the one of the scenario: good by both.
_LIFETIMES = Lifetimes(**dict.fromkeys(Lifetimes.__slots__, 36_500 * DAY))


@dataclass(frozen=True, slots=True)
class Believed:
    """A repository that has news, and the files that a device believes of it, by name."""

    mirror: Repository
    trust: Trust  # what follows from `before`
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]


def publish_news(stock: Stock) -> Believed:
    """Publish the base, then a first catalogue, which lists nothing: news that leave the trees alone."""
    os, disk = stock.base.os, SimulatedDisk()
    names = ("root", "targets", "snapshot", "timestamp", release_role(os), PERSONALISER)
    keys = [key for name in names for key in harness_keys(name)]
    who = {"os": os, "build": stock.base.build, "model": stock.model}

    publisher = Publisher.create(
        DiskFolder(_PLACE, disk=disk), [_role(name) for name in names], now=stock.now, lifetimes=_LIFETIMES
    )
    publisher.add(BytesSource(stock.base_document.to_bytes()))
    publisher.publish(keys)
    mirror = _mirror(disk)
    root = mirror.transport.read(layout.metadata_name("root", 1), layout.MAX_ROOT)
    trust, before = first_files(root, [mirror], **who, now=stock.now)

    publisher.add(BytesSource(stock.catalogue().to_bytes()))
    publisher.publish(keys)
    mirror = _mirror(disk)
    after = bring_up_to_date([mirror], before, **who, now=lambda epoch: stock.now).whole()
    return Believed(mirror, trust, before, after)


def _role(name: str) -> Role:
    return Role(name, tuple(key.public for key in harness_keys(name)), dict.fromkeys(ALGORITHMS, 1))


def _mirror(disk: SimulatedDisk) -> Repository:
    leaves = disk.after_cut("durable").leaves
    top = f"{_PLACE}/"
    return Repository(
        _Memory({path.removeprefix(top): leaf[1] for path, leaf in leaves.items() if leaf[0] == "file"})
    )


class _Memory:
    """A mirror that is never far: the files of a repository by name."""

    name = "memory"

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, name: str, limit: int) -> bytes:
        """A whole file; they are our own, and small."""
        if name not in self._files:
            raise MissingError(f"the repository has no {name}", path=name)
        return self._files[name]

    def stream(self, name: str, limit: int) -> Iterator[bytes]:
        """The same in one piece."""
        return iter([self.read(name, limit)])

    def open(self, name: str) -> ByteSource:
        """The same to be read by ranges."""
        return BytesSource(self.read(name, layout.MAX_ROLE_FILE))
