"""A publisher in memory: keys, small trees, and values of every document, each easily changed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from deltaseal.bundle import (
    BuiltScenario,
    Bundle,
    ComponentTrees,
    Release,
    ScenarioSigners,
    build,
    build_scenario,
    make_base,
    make_signers,
)
from deltaseal.manifest import (
    LIFETIME,
    ROUTE_BASELINE,
    ROUTE_WHOLE,
    Base,
    BundleManifest,
    Catalogue,
    CatalogueBase,
    ComponentChange,
    DeviceFacts,
    DeviceManifest,
    Fix,
    Limits,
    Listed,
    Offer,
    Personal,
    Route,
    Scenario,
)

DAY = 86_400
DAY_ZERO = 1_773_705_600  # 2026-03-17T00:00:00Z
EXAMPLE = Path(__file__).parents[2] / "examples" / "march-2026.toml"


def digest(text: str) -> str:
    """A digest that is easily told from others."""
    return hashlib.sha256(text.encode()).hexdigest()


DEVICE = digest("a device")[:32]
NONCE = digest("a nonce")[:32]
BUNDLE_DIGEST = digest("a bundle")

CHANGE = ComponentChange(
    base_tree=digest("mac app"),
    result_tree=digest("mac app, fixed"),
    result_bytes=1_000_000,
    result_entries=40,
    routes=(
        Route(ROUTE_BASELINE, digest("baseline payload"), 5_000, 600_000, 3),
        Route(ROUTE_WHOLE, digest("whole payload"), 200_000, 600_000, 3),
    ),
)

MANIFEST = BundleManifest(
    id="macos-26.3.1-a",
    os="macos",
    version="26.3.1",
    letter="a",
    build="25D771280a",
    base_build="25D2128",
    sequence=5,
    issued=DAY_ZERO,
    models=("Mac15,6", "Mac16,8"),
    activation="relaunch",
    processes=("Safari",),
    cves=(Fix("CVE-2026-20643", "app", "WebKit", "may bypass Same Origin Policy"),),
    components={"app": CHANGE},
    limits=Limits(1_000_000, 1 << 28, 60, 40),
)

PERMIT = DeviceManifest(
    id=MANIFEST.id,
    os="macos",
    bundle=BUNDLE_DIGEST,
    models=("Mac15,6", "Mac16,8"),
    personal=None,
    channel="stable",
    phase=10_000,
    issued=DAY_ZERO,
    expires=DAY_ZERO + LIFETIME,
)

CATALOGUE = Catalogue(
    os="macos",
    serial=3,
    issued=DAY_ZERO,
    expires=DAY_ZERO + 30 * DAY,
    minimum_sequence=1,
    bases=(CatalogueBase("26.3.1", "25D2128"),),
    improvements=(
        Listed(MANIFEST.id, "a", "25D2128", BUNDLE_DIGEST, 5, DAY_ZERO + 250 * DAY, ("CVE-2026-20643",)),
    ),
)

BASE = Base("macos", "26.3.1", "25D2128", {"app": digest("mac app")})

FACTS = DeviceFacts(
    now=DAY_ZERO + 3600,
    os="macos",
    version="26.3.1",
    build="25D2128",
    model="Mac15,6",
    device=DEVICE,
    channel="stable",
    components={"app": digest("mac app")},
)

OFFER = Offer(MANIFEST, BUNDLE_DIGEST, PERMIT, CATALOGUE)
PERSONAL = Personal(DEVICE, NONCE)


@functools.cache
def scenario() -> Scenario:
    """The committed example scenario."""
    return Scenario.loads(EXAMPLE.read_text())


@functools.cache
def signers() -> ScenarioSigners:
    """Its signers, the same in every run."""
    return make_signers(scenario(), day_zero=DAY_ZERO, random=_Stream().take)[0]


class _Stream:
    """Bytes for keys of tests: always the same, and fit for nothing else."""

    def __init__(self) -> None:
        self._count = 0

    def take(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(b"keys of tests %d" % self._count).digest(size)


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    """Make a directory with these files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def component_files(name: str, *, version: int = 0) -> dict[str, bytes]:
    """The files of a small component: one that changes with ``version``, some that never do."""
    body = hashlib.shake_256(name.encode()).digest(20_000)
    changed = b"%d of %s;" % (version, name.encode())
    return {
        "lib/engine.so": body[:7_000] + changed + body[7_000:],
        "lib/codec.so": body[::-1],
        "share/words.txt": b"words\n",
    }


def scenario_trees(root: Path) -> dict[str, Path]:
    """A directory for each tree of the example; the Neo's baseline has other bytes than the other Macs'."""
    found = {}
    for tree in scenario().trees:
        name, _, fixed = tree.partition("-")
        old = {"neo": 1}.get(name, 2)
        files = component_files("mac" if name == "neo" else name, version=3 if fixed else old)
        found[tree] = write_tree(root / tree, files)
    return found


def built_scenario(root: Path) -> BuiltScenario:
    """The example, built on small trees under ``root``."""
    return build_scenario(scenario(), trees_at=scenario_trees(root), day_zero=DAY_ZERO, signers=signers())


RELEASE = Release(
    id=MANIFEST.id,
    letter="a",
    build=MANIFEST.build,
    sequence=1,
    issued=DAY_ZERO,
    models=MANIFEST.models,
    activation="relaunch",
    processes=("Safari",),
    cves=MANIFEST.cves,
)


def mac_base(old: Path) -> Base:
    """The base whose component ``app`` is the tree in ``old``."""
    return make_base("macos", "26.3.1", "25D2128", {"app": old})


def mac_bundle(root: Path, release: Release = RELEASE) -> Bundle:
    """A small unsigned bundle for macOS, from trees made under ``root``."""
    old = write_tree(root / "old", component_files("mac", version=2))
    new = write_tree(root / "new", component_files("mac", version=3))
    return build(release, mac_base(old), {"app": ComponentTrees(old, new)})
