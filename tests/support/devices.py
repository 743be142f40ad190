"""A vendor, a world and sources in memory: everything a device meets, small and easily changed."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.publisher import write_tree

from deltaseal.bundle import Bundle, ComponentTrees, Earlier, Release, build, make_base
from deltaseal.device import Device, create
from deltaseal.edge import Edge, HookResult, Process
from deltaseal.edge import Mapping as Mapped
from deltaseal.manifest import (
    PERSONALISER,
    Base,
    Catalogue,
    CatalogueBase,
    DeviceManifest,
    Fix,
    Published,
    Request,
    Withdrawal,
    make_catalogue,
    make_permit,
    release_role,
)
from deltaseal.storage import ByteSource, BytesSource, Disk, RealDisk, SimulatedDisk
from deltaseal.trust import PrivateKey, Role, Trust, UnverifiedDocument, sign

DAY = 86_400
DAY_ZERO = 1_773_705_600  # 2026-03-17T00:00:00Z
MODEL = "Mac15,6"
BUILD = "25D2128"
LETTERS = "abc"


@dataclass(slots=True)
class World:
    """What the edge shows; a test changes it as it goes."""

    clock: int = DAY_ZERO + 3_600
    uid: int = 1000
    boot: str = "boot-1"
    battery: int | None = None
    processes: list[Process] = field(default_factory=list)
    hooks: dict[str, HookResult] = field(default_factory=dict)  # by file name
    slept: float = 0
    build_date: int = DAY_ZERO - 30 * DAY
    on_sleep: list[list[Process]] = field(default_factory=list)  # what runs after each sleep
    _drawn: int = 0

    def edge(self) -> Edge:
        """The edge of this world, now."""
        return Edge(
            now=lambda: self.clock,
            random=self._random,
            uid=self.uid,
            boot_id=self.boot,
            build_date=self.build_date,
            battery=lambda: self.battery,
            metered=lambda: None,
            processes=lambda: tuple(self.processes),
            run_hook=lambda path, seconds: self.hooks.get(path.name, HookResult(0, "")),
            sleep=self._sleep,
        )

    def _random(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(b"%d of a world" % self._drawn).digest(size)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        if self.on_sleep:
            self.processes = self.on_sleep.pop(0)


def running(name: str, *paths: Path, pid: int = 42) -> Process:
    """A process of that name which maps these files."""
    return Process(pid, frozenset({name}), tuple(Mapped(1, 1, str(path)) for path in paths))


class MemorySource:
    """A source that hands out whatever a test puts in, verified by nobody."""

    def __init__(
        self,
        *,
        bundles: Mapping[str, bytes | ByteSource] | None = None,
        manifests: Iterable[UnverifiedDocument] = (),
        catalogue: UnverifiedDocument | None = None,
        name: str = "memory",
    ) -> None:
        self.name = name
        self.bundles = dict(bundles or {})
        self.documents = tuple(manifests)
        self.newest = catalogue

    def catalogue(self, os: str) -> UnverifiedDocument | None:
        """The one there is."""
        return self.newest

    def manifests(self, os: str | None, id: str | None = None) -> tuple[UnverifiedDocument, ...]:
        """All of them, whatever they claim."""
        return self.documents

    def bundle(self, digest: str) -> ByteSource | None:
        """What was put in under that digest."""
        found = self.bundles.get(digest)
        return BytesSource(found) if isinstance(found, bytes) else found


@functools.cache
def _key(role: str, algorithm: str) -> PrivateKey:
    seed = lambda size: hashlib.shake_256(f"{role} {algorithm}".encode()).digest(size)  # noqa: E731
    return PrivateKey.generate(algorithm, random=seed)  # type: ignore[arg-type]


def signers(role: str) -> list[PrivateKey]:
    """One key of each algorithm, always the same ones."""
    return [_key(role, "ed25519"), _key(role, "ml-dsa-65")]


ROLES = (release_role("macos"), release_role("ios"), PERSONALISER)


@functools.cache
def trust(epoch: int = 0) -> Trust:
    """One of each algorithm for every role."""
    roles = [
        Role(name, tuple(key.public for key in signers(name)), {"ed25519": 1, "ml-dsa-65": 1})
        for name in ROLES
    ]
    return Trust.of(*roles, expires=DAY_ZERO + 3_650 * DAY, epoch=epoch)


def component(name: str, version: int) -> dict[str, bytes]:
    """The files of a small component at one version; most of it never changes."""
    body = hashlib.shake_256(name.encode()).digest(3_000)
    return {
        "lib/engine.so": body[:1_000] + b"version %d" % version + body[1_000:],
        "lib/codec.so": body[::-1],
        "share/words.txt": b"words of %s\n" % name.encode(),
    }


@functools.cache
def _workshop() -> Path:
    made = tempfile.TemporaryDirectory(prefix="deltaseal-tests-")
    _KEPT.append(made)  # removed when the process ends
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def tree(name: str, version: int) -> Path:
    """A directory with one version of a component."""
    return write_tree(_workshop() / f"{name}-{version}", component(name, version))


@functools.cache
def trees(app: int = 0, os: int = 0) -> Path:
    """A directory with one directory for each component, as ``create`` takes it."""
    root = _workshop() / f"trees-{app}-{os}"
    for name, version in (("app", app), ("os", os)):
        write_tree(root / name, component(name, version))
    return root


@functools.cache
def base(os: str = "macos", build: str = BUILD, app: int = 0) -> Base:
    """A base with the components ``app`` and ``os``."""
    return make_base(os, "26.3.1", build, {"app": tree("app", app), "os": tree("os", 0)})


def signed_base(of: Base | None = None) -> UnverifiedDocument:
    """A base, signed."""
    body = of or base()
    return sign(Base.TYPE, body.dumps(), signers(release_role(body.os)))


FIX = Fix("CVE-2026-20643", "app", "Web content", "may bypass Same Origin Policy")


@functools.cache
def bundle(
    letter: str = "a",
    *,
    os: str = "macos",
    build_of_base: str = BUILD,
    models: tuple[str, ...] = (MODEL,),
    activation: str = "relaunch",
    both: bool = False,
    sequence: int | None = None,
    app: int = 0,
) -> Bundle:
    """A signed bundle: letter ``a`` makes version 1 of ``app`` (and of ``os`` with ``both``), and so on."""
    version = LETTERS.index(letter) + 1 + app
    on = base(os, build_of_base, app)
    release = Release(
        id=f"{os}-26.3.1-{letter}",
        letter=letter,
        build=f"25D77128{version}a",
        sequence=sequence or version,
        issued=DAY_ZERO,
        models=models,
        activation=activation,
        processes=("Browser",),
        cves=(FIX,),
    )
    changed = {"app": ComponentTrees(tree("app", app), tree("app", version))}
    if both:
        changed["os"] = ComponentTrees(tree("os", 0), tree("os", version))
    earlier = [
        Earlier(
            bundle(lower, os=os, build_of_base=build_of_base, models=models, app=app).manifest,
            {"app": tree("app", LETTERS.index(lower) + 1 + app)},
        )
        for lower in LETTERS[: LETTERS.index(letter)]
        if sequence is None
    ]
    return build(release, on, changed, earlier=earlier).signed(signers(release_role(os)))


def permit(of: Bundle, *, request: Request | None = None, **changes: object) -> UnverifiedDocument:
    """A signed device manifest for a bundle; ``changes`` are fields of it."""
    made = make_permit(
        of.manifest, of.digest, issued=DAY_ZERO, personal=request.personal if request else None
    )
    body: DeviceManifest = replace(made, **changes)  # type: ignore[arg-type]
    return sign(DeviceManifest.TYPE, body.dumps(), signers(PERSONALISER))


def catalogue(
    *bundles: Bundle,
    serial: int = 1,
    minimum: int = 0,
    withdrawals: tuple[Withdrawal, ...] = (),
    issued: int = DAY_ZERO,
    expires: int = DAY_ZERO + 30 * DAY,
    improvements_expire: int = DAY_ZERO + 250 * DAY,
) -> UnverifiedDocument:
    """A signed catalogue of these bundles."""
    body = make_catalogue(
        os="macos",
        serial=serial,
        issued=issued,
        expires=expires,
        bases=[CatalogueBase("26.3.1", BUILD)],
        improvements=[Published(one.manifest, one.digest, improvements_expire) for one in bundles],
        minimum_sequence=minimum,
        withdrawals=withdrawals,
    )
    return sign(Catalogue.TYPE, body.dumps(), signers(release_role("macos")))


def source(
    *bundles: Bundle,
    listed: UnverifiedDocument | None = None,
    manifests: Iterable[UnverifiedDocument] | None = None,
) -> MemorySource:
    """A source with these bundles, and a static device manifest for each unless told otherwise."""
    return MemorySource(
        bundles={one.digest: one.to_bytes() for one in bundles},
        manifests=[permit(one) for one in bundles] if manifests is None else manifests,
        catalogue=listed,
    )


def new_device(
    path: Path,
    world: World,
    *,
    disk: Disk | None = None,
    model: str = MODEL,
    on: Base | None = None,
    app: int = 0,
) -> Device:
    """A fresh device at ``path``, on a real disk unless told otherwise."""
    return create(
        path,
        base=signed_base(on),
        trees=Path("/trees") if disk is not None else trees(app=app),
        trust=trust(),
        model=model,
        edge=world.edge(),
        disk=disk,
    )


NEW_BUILD = "25E246"  # of the full update that a device is put on


def new_base() -> Base:
    """The full update: another build, version 2 of ``app``."""
    return base(build=NEW_BUILD, app=2)


def simulated_disk(**limits: int) -> SimulatedDisk:
    """A simulated disk that holds components under ``/trees``, those of the full update under ``/full``."""
    files = {
        f"{top}/{name}/{path}": ("file", data, 0o644)
        for top, versions in (("trees", {"app": 0, "os": 0}), ("full", {"app": 2, "os": 0}))
        for name, version in versions.items()
        for path, data in component(name, version).items()
    }
    return SimulatedDisk(files, **limits)  # type: ignore[arg-type]


def everything(path: Path) -> dict[str, tuple[str, bytes, int]]:
    """A whole folder as a value: what stands at each path, byte for byte."""
    found: dict[str, tuple[str, bytes, int]] = {}
    for each in sorted(path.rglob("*")):
        name = str(each.relative_to(path))
        if each.is_symlink():
            found[name] = ("link", str(each.readlink()).encode(), 0)
        elif each.is_dir():
            found[name] = ("dir", b"", each.stat().st_mode)
        else:
            found[name] = ("file", each.read_bytes(), each.stat().st_mode)
    return found


def live(path: Path, name: str = "app") -> dict[str, bytes]:
    """The files of a component as the pointer shows it."""
    root = path / "active" / name
    return {
        str(each.relative_to(root)): each.read_bytes() for each in sorted(root.rglob("*")) if each.is_file()
    }


REAL = RealDisk()
