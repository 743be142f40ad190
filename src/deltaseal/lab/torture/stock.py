"""What there is to install: a base, its trees, bundles, and whoever signs what the test needs.

The built-in scenario is the one of the product's story, small: macOS 26.3.1, build 25D2128, with the
components ``app`` and ``os``; improvements ``a`` and ``b``, spoiled ones, and the next full base. All keys
are made from fixed seeds: they sign nothing outside a test.

For somebody's own bundle and base the release signatures stay theirs and are verified as on a device; only
the role that permits (``personaliser``) is played by a test key, since the harness issues the permission.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deltaseal.bundle import Bundle, ComponentTrees, Earlier, Release, build, make_base, open_bundle
from deltaseal.errors import UsageError
from deltaseal.lab.torture.images import COMPONENTS, write_trees
from deltaseal.lab.torture.sources import MemorySource
from deltaseal.manifest import (
    PERSONALISER,
    Base,
    BundleManifest,
    Catalogue,
    CatalogueBase,
    DeviceManifest,
    Fix,
    Published,
    Withdrawal,
    make_catalogue,
    make_permit,
    release_role,
    verify_base,
)
from deltaseal.storage import BytesSource, FileSource, RealDisk, walk
from deltaseal.storage.nodes import Leaf
from deltaseal.trees import scan
from deltaseal.trust import ALGORITHMS, PrivateKey, Role, Trust, UnverifiedDocument, sign

__all__ = ["BASELINE", "DAY_ZERO", "NEXT_BASE", "Stock", "builtin_stock", "read_tree", "respoilt", "stock_of"]

DAY = 86_400
DAY_ZERO = 1_773_705_600  # 2026-03-17T00:00:00Z, the story's release day
OS, VERSION, BUILD, MODEL = "macos", "26.3.1", "25D2128", "Mac15,6"
BASELINE = "baseline"  # the label of what lies on the device with nothing applied
NEXT_BASE = "next base"
FIX = Fix("CVE-2026-20643", "app", "WebKit", "may bypass Same Origin Policy")


@dataclass(frozen=True)
class Stock:
    """All that the acts of a run are made of."""

    base: Base
    base_document: UnverifiedDocument
    trees: Mapping[str, Leaf]  # ``component/path``: what the device is created from
    trust: Trust
    model: str
    now: int  # seconds since 1970
    bundles: Mapping[str, Bundle]  # by a label: a letter, or what is wrong with it
    builtin: bool
    next_base: UnverifiedDocument | None = None
    next_trees: Mapping[str, Leaf] = field(default_factory=dict)

    def expected(self, label: str) -> dict[str, str]:
        """The tree digest that each component has with this label applied."""
        if label == NEXT_BASE:
            assert self.next_base is not None, "only the built-in scenario has one"
            return dict(Base.loads(self.next_base.body).components)
        changed = self.bundles[label].manifest.components if label != BASELINE else {}
        return {**self.base.components, **{name: each.result_tree for name, each in changed.items()}}

    def source(
        self,
        *labels: str,
        catalogue: UnverifiedDocument | None = None,
        spoil: Callable[..., bytes] | None = None,
    ) -> MemorySource:
        """A source with these bundles and a permission for each."""
        bundles = {self.bundles[label].digest: self.bundles[label] for label in labels}
        return MemorySource(
            bundles={digest: bundle.to_bytes() for digest, bundle in bundles.items()},
            manifests=[_permit(bundle.document, self.now) for bundle in bundles.values()],
            catalogue=catalogue,
            spoil=spoil,
        )

    def catalogue(self, *labels: str, serial: int = 1, withdraw: str = "") -> UnverifiedDocument:
        """A signed catalogue of the built-in scenario; ``withdraw`` is the label to be taken off devices."""
        bundles = [self.bundles[label] for label in labels]
        orders = [Withdrawal(self.bundles[withdraw].manifest.id, "remove", (FIX.cve,))] if withdraw else []
        body = make_catalogue(
            os=self.base.os,
            serial=serial,
            issued=DAY_ZERO,
            expires=DAY_ZERO + 30 * DAY,
            bases=[CatalogueBase(VERSION, BUILD)],
            improvements=[Published(one.manifest, one.digest, DAY_ZERO + 250 * DAY) for one in bundles],
            withdrawals=orders,
        )
        return sign(Catalogue.TYPE, body.dumps(), harness_keys(release_role(OS)))


def builtin_stock(scratch: Path) -> Stock:
    """Make the built-in scenario; ``scratch`` is a folder for its trees."""
    at = {(name, version): write_trees(scratch, name, version) for name in COMPONENTS for version in range(4)}
    base = make_base(OS, VERSION, BUILD, {name: at[name, 0] for name in COMPONENTS})
    bundles: dict[str, Bundle] = {}
    earlier: list[Earlier] = []
    for number, letter in enumerate("ab", 1):
        # The first letter touches one component and leaves the other a link; the second touches both.
        touched = COMPONENTS[:number]
        trees = {name: ComponentTrees(at[name, 0], at[name, number]) for name in touched}
        made = build(_release(letter, number), base, trees, earlier=earlier)
        bundles[letter] = made.signed(harness_keys(release_role(OS)))
        earlier.append(Earlier(made.manifest, {name: at[name, number] for name in touched}))
    next_base = make_base(OS, "26.4", "25E246", {name: at[name, 3] for name in COMPONENTS})
    return Stock(
        base=base,
        base_document=sign(Base.TYPE, base.dumps(), harness_keys(release_role(OS))),
        trees=_leaves({name: at[name, 0] for name in COMPONENTS}),
        trust=_harness_trust(release_role(OS)),
        model=MODEL,
        now=DAY_ZERO + 3_600,
        bundles=bundles,
        builtin=True,
        next_base=sign(Base.TYPE, next_base.dumps(), harness_keys(release_role(OS))),
        next_trees=_leaves({name: at[name, 3] for name in COMPONENTS}),
    )


def stock_of(bundle: Path, base: Path, trees: Path, trust: Path, *, model: str = "") -> Stock:
    """Read somebody's bundle, the base it is for and that base's trees; the signatures are verified.

    Raises what verifying raises; ``UsageError`` for a model that the bundle does not list, for a bundle of
    another base, and for trees that are not those of the base: there every update would be refused.
    """
    given = Trust.load(trust.read_bytes())
    opened = open_bundle(FileSource(bundle))
    claimed = opened.claimed()
    now = claimed.issued + 3_600
    manifest = opened.verify(given, now=now).manifest
    document = UnverifiedDocument.loads(base.read_bytes())
    body = verify_base(document, given, now=now).value
    if model and model not in manifest.models:
        raise UsageError(f"the bundle is not for {model}", hint=f"it is for {', '.join(manifest.models)}")
    if not manifest.models:
        raise UsageError("the bundle is for no model", hint="one that is for nobody cannot be installed")
    _check_base(manifest, body, trees)
    return Stock(
        base=body,
        base_document=document,
        trees=_leaves({name: trees / name for name in body.components}),
        trust=replace(given, roles={**given.roles, **_harness_trust(PERSONALISER).roles}),
        model=model or manifest.models[0],
        now=now,
        bundles={manifest.letter: opened.editable()},
        builtin=False,
    )


def _check_base(manifest: BundleManifest, base: Base, trees: Path) -> None:
    """Raise ``UsageError`` unless the bundle is for the base, and the trees are the base's."""
    if (manifest.os, manifest.base_build) != (base.os, base.build):
        raise UsageError(
            f"the bundle is for {manifest.os} build {manifest.base_build}, "
            f"the base is {base.os} build {base.build}",
            hint="name the base that the bundle was built for",
        )
    disk = RealDisk()
    for name, digest in base.components.items():
        with disk.open_root(trees / name) as top:
            found = scan(disk, top, names=base.names, exclude=base.exclude).digest.hex()
        if found != digest:
            raise UsageError(
                f"{str(trees / name)!r} is not the component {name} of the base",
                hint="name the folder with the base's components, as they are before the update",
                expected=digest,
                found=found,
            )


def respoilt(
    bundle: Bundle,
    change: Callable[[str, str, bytes], bytes],
    *,
    amend: Callable[[BundleManifest], BundleManifest] = lambda manifest: manifest,
) -> Bundle:
    """The bundle with other payloads, and signed for them: what a thief of the release keys could make.

    ``change`` takes component, kind of route and payload, and gives the payload to put in its place.
    """
    manifest = bundle.manifest
    old = {digest: source for (digest, _), source in zip(manifest.payloads(), bundle.payloads, strict=True)}
    kept = {manifest.vex.sha256: manifest.vex.size} if manifest.vex else {}
    payloads = {digest: old[digest].read_at(0, size) for digest, size in kept.items()}
    components = {}
    for name, component in manifest.components.items():
        routes = []
        for route in component.routes:
            data = old[route.sha256].read_at(0, route.size)
            data = change(name, route.kind, data)
            digest = hashlib.sha256(data).hexdigest()
            payloads[digest] = data
            routes.append(replace(route, sha256=digest, size=len(data)))
        components[name] = replace(component, routes=tuple(routes))
    body = amend(replace(manifest, components=components))
    made = Bundle(
        UnverifiedDocument(BundleManifest.TYPE, body.dumps()),
        tuple(BytesSource(payloads[digest]) for digest, _ in body.payloads()),
    )
    return made.signed(harness_keys(release_role(manifest.os)))


@functools.cache
def harness_keys(role: str) -> Sequence[PrivateKey]:
    """One key of each algorithm, the same in every run."""
    return tuple(_key(role, algorithm) for algorithm in ALGORITHMS)


def _key(role: str, algorithm: str) -> PrivateKey:
    def seed(size: int) -> bytes:
        return hashlib.shake_256(f"torture {role} {algorithm}".encode()).digest(size)

    return PrivateKey.generate(algorithm, random=seed)  # type: ignore[arg-type]


def _harness_trust(*released: str) -> Trust:
    roles = [
        Role(name, tuple(key.public for key in harness_keys(name)), {"ed25519": 1, "ml-dsa-65": 1})
        for name in dict.fromkeys((*released, PERSONALISER))
    ]
    return Trust.of(*roles, expires=DAY_ZERO + 3_650 * DAY)


@functools.lru_cache(maxsize=16)
def _permit(document: UnverifiedDocument, now: int) -> UnverifiedDocument:
    manifest = BundleManifest.loads(document.body)
    permit = make_permit(manifest, document.digest.hex(), issued=now - 3_600)
    return sign(DeviceManifest.TYPE, permit.dumps(), harness_keys(PERSONALISER))


def _release(letter: str, number: int) -> Release:
    return Release(
        id=f"{OS}-{VERSION}-{letter}",
        letter=letter,
        build=f"25D77128{number - 1}a",
        sequence=number,
        issued=DAY_ZERO,
        models=(MODEL, "Mac16,8"),
        activation="relaunch",
        processes=("Safari",),
        cves=(FIX,),
    )


def _leaves(components: Mapping[str, Path]) -> dict[str, Leaf]:
    found: dict[str, Leaf] = {}
    for name, directory in components.items():
        found[name] = ("dir", 0o755)
        found |= {f"{name}/{path}": leaf for path, leaf in read_tree(directory).items()}
    return found


def read_tree(directory: Path) -> dict[str, Leaf]:
    """Everything below a real directory, by its path in it."""
    disk = RealDisk()
    found: dict[str, Leaf] = {}
    with disk.open_root(directory) as top:
        for each in walk(disk, top):
            if each.stat.kind == "link":
                found[each.path] = ("link", disk.read_link(each.at, each.name))
            elif each.stat.kind == "dir":
                found[each.path] = ("dir", each.stat.mode & 0o777)
            elif each.stat.kind == "file":
                with disk.open_read(each.at, each.name) as file:
                    found[each.path] = ("file", file.read_at(0, each.stat.size), each.stat.mode & 0o777)
    return found
