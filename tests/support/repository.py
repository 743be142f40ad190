"""A publisher in memory, and everybody who might bend what it publishes: an attack is one line.

``Vendor`` is an honest publisher with all keys; ``files`` is what a mirror serves, free for anybody to
change; ``forge`` signs a changed role file with whatever keys a thief has.  python-tuf looks at the clock of
this machine, so day zero is today.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.devices import BUILD, DAY, MODEL, World, bundle, catalogue, signed_base, trees
from support.devices import signers as release_signers
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from deltaseal.bundle import Bundle
from deltaseal.device import Device, create
from deltaseal.manifest import PERSONALISER, Withdrawal
from deltaseal.repo import DiskFolder, Publisher, Repository, first_files, layout
from deltaseal.repo.folders import Pieces
from deltaseal.repo.metadata import add_signatures, dump, moment
from deltaseal.repo.published import catalogue_in, read_published
from deltaseal.storage import ByteSource, BytesSource, MissingError, SimulatedDisk
from deltaseal.trust import ALGORITHMS, PrivateKey, Role, UnverifiedDocument

NOW = int(time.time())
COUNTS = {"root": (2, 3), "targets": (1, 2), "snapshot": (1, 1), "timestamp": (1, 1)}
KINDS: dict[str, Any] = {"root": Root, "snapshot": Snapshot, "timestamp": Timestamp}


class MemoryFolder:
    """A repository's folder as a dictionary."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.name = "memory"
        self.files = files

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise MissingError(f"no {name}", path=name)
        return self.files[name]

    def open(self, name: str) -> ByteSource:
        return BytesSource(self.read(name))

    def put(self, files: dict[str, Pieces]) -> None:
        for name, pieces in files.items():
            self.files[name] = b"".join(pieces())

    def names(self, under: str) -> list[str]:
        return sorted(name for name in self.files if name.startswith(f"{under}/"))

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.files.pop(name, None)

    def locked(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass
class Mirror:
    """A transport over a dictionary; ``before`` may change what an answer is, or raise."""

    files: dict[str, bytes]
    name: str = "mirror"
    before: Callable[[str], None] = lambda name: None
    asked: list[str] = field(default_factory=list)

    def read(self, name: str, limit: int) -> bytes:
        return b"".join(self.stream(name, limit))

    def stream(self, name: str, limit: int) -> Iterator[bytes]:
        self.asked.append(name)
        self.before(name)
        if name not in self.files:
            raise MissingError(f"no {name}", path=name)
        return iter([self.files[name]])

    def open(self, name: str) -> ByteSource:
        return BytesSource(b"".join(self.stream(name, 1 << 40)))


def disk_with(files: dict[str, bytes]) -> SimulatedDisk:
    """A simulated disk that holds a repository in the folder ``repo``."""
    return SimulatedDisk({f"repo/{name}": ("file", data, 0o644) for name, data in files.items()})


class DiskMirror:
    """A mirror that serves a simulated disk."""

    name = "disk"

    def __init__(self, disk: SimulatedDisk) -> None:
        self.folder = DiskFolder("repo", disk=disk)

    def stream(self, name: str, limit: int) -> Iterator[bytes]:
        return iter([self.folder.read(name)])

    def read(self, name: str, limit: int) -> bytes:
        return self.folder.read(name)

    def open(self, name: str) -> ByteSource:
        return self.folder.open(name)


@functools.cache
def keys(role: str, share: int = 0) -> tuple[PrivateKey, ...]:
    """The keys of a role, always the same ones: all Ed25519 first. Another ``share`` gives other keys."""
    if role in ("release:macos", "release:ios", PERSONALISER) and not share:
        return tuple(release_signers(role))
    made = []
    for algorithm in ALGORITHMS:
        for number in range(COUNTS.get(role, (1, 1))[1]):
            seed = hashlib.shake_256(f"{role} {share} {algorithm} {number}".encode()).digest(32)
            made.append(PrivateKey.generate(algorithm, random=lambda size, seed=seed: seed))  # type: ignore[misc]
    return tuple(made)


def role(name: str, share: int = 0, *, needed: int | None = None) -> Role:
    """The rule of a role with those keys."""
    k = COUNTS.get(name, (1, 1))[0] if needed is None else needed
    return Role(name, tuple(key.public for key in keys(name, share)), dict.fromkeys(ALGORITHMS, k))


ROLES = ("root", "targets", "snapshot", "timestamp", "release:macos", "release:ios", PERSONALISER)


def all_keys(share: int = 0) -> list[PrivateKey]:
    """Every key there is."""
    return [key for name in ROLES for key in keys(name, share)]


@functools.cache
def _first() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    publisher = Publisher.create(MemoryFolder(files), [role(name) for name in ROLES], now=NOW)
    publisher.add(BytesSource(signed_base().to_bytes()))
    publisher.publish(all_keys())
    return files


class Vendor:
    """An honest publisher and its repository, which everybody may change."""

    def __init__(self) -> None:
        self.files = dict(_first())
        self.publisher = Publisher(MemoryFolder(self.files), NOW)
        self.serial = 0
        self.published: list[Bundle] = []

    # ---- what the vendor does ------------------------------------------------------------------

    def release(
        self,
        *bundles: Bundle,
        withdrawals: tuple[Withdrawal, ...] = (),
        minimum: int = 0,
        issued: int = NOW,
        expires: int = NOW + 30 * DAY,
        improvements_expire: int = NOW + 250 * DAY,
        signers: Sequence[PrivateKey] | None = None,
    ) -> Vendor:
        """Publish these bundles as all there is, permitted for everybody where not withdrawn."""
        signing = all_keys() if signers is None else list(signers)
        self.published = list(bundles)
        self.serial += 1
        for one in bundles:
            self.publisher.add(BytesSource(one.to_bytes()))
        listed = catalogue(
            *bundles,
            serial=self.serial,
            withdrawals=withdrawals,
            minimum=minimum,
            issued=issued,
            expires=expires,
            improvements_expire=improvements_expire,
        )
        self.publisher.add(BytesSource(listed.to_bytes()))
        gone = {order.id for order in withdrawals}
        for one in bundles:
            if one.manifest.id not in gone and self.publisher.now < improvements_expire:
                self.publisher.offer(one.manifest.id, signers=signing)
        self.publisher.publish(signing)
        return self

    def renew(self, signers: Sequence[PrivateKey] | None = None, *, later: int = 0) -> Vendor:
        """Publish again, some seconds later."""
        self.publisher.now += later
        self.publisher.publish(all_keys() if signers is None else list(signers))
        return self

    def rotate(self, name: str, share: int, *, old: bool = True) -> Vendor:
        """Give a role other keys and publish; without ``old`` its former keys are gone."""
        self.publisher.rotate(role(name, share))
        signing = [key for each in ROLES if each != name or old for key in keys(each)]
        self.publisher.publish([*signing, *keys(name, share), *all_keys(share)])
        return self

    # ---- what a thief does ---------------------------------------------------------------------

    def body(self, name: str) -> Any:
        """A role file's body as it is in force, to be changed."""
        return copy.deepcopy(Metadata.from_bytes(read_published(MemoryFolder(self.files)).files[name]).signed)

    def forge(self, name: str, change: Callable[[Any], object], by: Iterable[PrivateKey]) -> Vendor:
        """Change a role file, sign it with these keys, and put it where clients look for that version."""
        body = self.body(name)
        change(body)
        return self.put(name, body, by)

    def put(self, name: str, body: Any, by: Iterable[PrivateKey]) -> Vendor:
        """Sign a body with these keys and serve it."""
        metadata: Metadata[Any] = Metadata(body)
        add_signatures(metadata, by)
        self.files[layout.metadata_name(name, body.version)] = dump(metadata)
        return self

    def reseal(self, *, snapshot_ends: int = 0, timestamp_ends: int = 0) -> Vendor:
        """Let a new snapshot and timestamp name the newest version of every role file: stolen online keys."""
        newest: dict[str, int] = {}
        for path in self.files:
            parts = path.removeprefix("metadata/").split(".", 2)
            if path.startswith("metadata/") and len(parts) == 3 and parts[1] not in ("root", "snapshot"):
                newest[parts[1]] = max(newest.get(parts[1], 0), int(parts[0]))
        body: Snapshot = self.body("snapshot")
        body.version += 1
        for name, version in newest.items():
            data = self.files[layout.metadata_name(name, version)]
            body.meta[f"{name}.json"] = MetaFile.from_data(version, data, ["sha256"])
        if snapshot_ends:
            body.expires = moment(snapshot_ends)
        self.put("snapshot", body, keys("snapshot"))
        return self.stamp(body.version, by=keys("timestamp"), ends=timestamp_ends)

    def stamp(self, snapshot: int, *, by: Iterable[PrivateKey], ends: int = 0) -> Vendor:
        """A timestamp that names a version of the snapshot."""
        body: Timestamp = self.body("timestamp")
        if ends:
            body.expires = moment(ends)
        body.version += 1
        data = self.files[layout.metadata_name("snapshot", snapshot)]
        body.snapshot_meta = MetaFile.from_data(snapshot, data, ["sha256"])
        return self.put("timestamp", body, by)

    def target(self, role_name: str, path: str, data: bytes, *, by: Iterable[PrivateKey]) -> Vendor:
        """Let a role file name these bytes as a target: stolen keys of that role and of the online roles."""
        from deltaseal.repo.permits import target_of

        info = target_of(path, data)
        self.files[layout.target_name(path, info.hashes["sha256"])] = data

        def change(body: Targets) -> None:
            body.version += 1
            body.targets[path] = info

        return self.forge(role_name, change, by).reseal()

    def listed(self) -> UnverifiedDocument:
        """The catalogue document in force."""
        found = catalogue_in(MemoryFolder(self.files), self.body("release-macos"))
        assert found is not None
        return found[0]

    def base(self) -> UnverifiedDocument:
        """The base document in force."""
        path = layout.base_path("macos", BUILD)
        info = self.body("release-macos").targets[path]
        return UnverifiedDocument.loads(self.files[layout.target_name(path, info.hashes["sha256"])])

    # ---- devices -------------------------------------------------------------------------------

    def mirror(self, **changes: Any) -> Repository:
        """A mirror of the repository as a source."""
        return Repository(Mirror(self.files, **changes))

    def root(self, version: int = 1) -> bytes:
        """A root."""
        return self.files[layout.metadata_name("root", version)]

    def device(self, path: Path, world: World | None = None, *, model: str = MODEL) -> Device:
        """A device that believes the repository as it is now."""
        world = world or World(clock=NOW)
        trust, files = first_files(
            self.root(), [self.mirror()], os="macos", build=BUILD, model=model, now=world.clock
        )
        return create(
            path,
            base=self.base(),
            trees=trees(),
            trust=trust,
            model=model,
            edge=world.edge(),
            metadata=files,
        )


__all__ = [
    "NOW",
    "DiskMirror",
    "Mirror",
    "Vendor",
    "all_keys",
    "bundle",
    "disk_with",
    "keys",
    "moment",
    "role",
]
