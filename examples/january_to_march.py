"""January's beta to March's release: one hole, three bases, forty devices, told by day.

    .venv/bin/python examples/january_to_march.py [--devices N]

Real devices in folders, real signatures, real reports into a real fleet; only the clock is moved. What it
prints stands in docs/fleet/january-to-march.md, and a test holds the two together.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from deltaseal.bundle import Bundle, ComponentTrees, Release, build, make_base
from deltaseal.device import Device, create, look, report_look
from deltaseal.edge import Edge, system_edge
from deltaseal.fleet import (
    create_fleet,
    documents_of,
    enroll,
    exposure_to,
    follow,
    ingest,
    open_fleet,
    publisher_of,
    recommendations,
)
from deltaseal.fleet.places import FolderPlace
from deltaseal.fleet.rollout import Rollout, carry_out
from deltaseal.manifest import (
    PERSONALISER,
    Base,
    Catalogue,
    CatalogueBase,
    DeviceManifest,
    Fix,
    Published,
    make_catalogue,
    make_permit,
    release_role,
)
from deltaseal.repo import DirectorySource
from deltaseal.report import read_enrolment
from deltaseal.storage import FileSource
from deltaseal.trust import PrivateKey, Role, Trust, UnverifiedDocument, sign

DAY = 86_400
OS, MODEL = "macos", "Mac15,6"
CVE = "CVE-2026-20643"
FIX = Fix(CVE, "app", "WebKit", "may bypass Same Origin Policy")
BASES = {"26.3": "25D2050", "26.3.1": "25D2128", "26.4": "25E246"}


def when(text: str) -> int:
    """Seconds since 1970 of a day and hour, UTC."""
    return int(datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp())


@dataclass
class Story:
    """The publisher, its devices, its fleet, and the clock."""

    root: Path
    now: int
    drawn: int = 0

    def random(self, size: int) -> bytes:
        """The same in every run, and fit for nothing else."""
        self.drawn += 1
        return hashlib.shake_256(b"january %d" % self.drawn).digest(size)

    def edge(self) -> Edge:
        """This machine's edge, at the story's time."""
        return replace(
            system_edge(),
            now=lambda: self.now,
            random=self.random,
            battery=lambda: None,
            metered=lambda: None,
            processes=lambda: (),
            sleep=lambda seconds: None,
        )

    @property
    def offers(self) -> Path:
        """The publisher's folder."""
        return self.root / "offers"

    def say(self, words: str) -> None:
        """A line with the story's date."""
        print(f"{datetime.fromtimestamp(self.now, UTC):%d %B %H:%M}  {words}")


# ---- the publisher ---------------------------------------------------------------------------------------


@functools.cache
def key(role: str, algorithm: str) -> PrivateKey:
    """A key of a role."""
    seed = hashlib.sha256(f"{role} {algorithm}".encode()).digest()
    return PrivateKey.generate("ed25519" if algorithm == "ed25519" else "ml-dsa-65", random=lambda size: seed)


def keys(role: str) -> list[PrivateKey]:
    """One key of each algorithm."""
    return [key(role, "ed25519"), key(role, "ml-dsa-65")]


def trust() -> Trust:
    """Whom devices and the fleet believe."""
    rule = {"ed25519": 1, "ml-dsa-65": 1}
    names = (release_role(OS), PERSONALISER)
    roles = [Role(name, tuple(one.public for one in keys(name)), dict(rule)) for name in names]  # type: ignore[arg-type]
    return Trust.of(*roles, expires=when("12-31 00:00"))


def tree(story: Story, version: str, *, fixed: bool) -> Path:
    """The component of a version: a small engine, with the hole or without."""
    root = story.root / "trees" / f"{version}{'-fixed' if fixed else ''}"
    if not root.exists():
        (root / "app").mkdir(parents=True)
        body = hashlib.shake_256(version.encode()).digest(4_000)
        (root / "app" / "engine").write_bytes(body + (b"checks its input" if fixed else b""))
        (root / "app" / "version").write_text(version)
    return root


@functools.cache
def base(story_root: Path, version: str) -> Base:
    """A base; 26.4 is a full update that includes the fix."""
    story = Story(story_root, 0)
    app = tree(story, version, fixed=version == "26.4") / "app"
    return make_base(OS, version, BASES[version], {"app": app})


def improvement(story: Story, version: str, sequence: int, *, cves: tuple[Fix, ...]) -> Bundle:
    """Letter a of a base."""
    release = Release(
        id=f"{OS}-{version}-a",
        letter="a",
        build=f"{BASES[version][:3]}7712{sequence}0a",
        sequence=sequence,
        issued=story.now,
        models=(MODEL,),
        activation="relaunch",
        processes=("Browser",),
        cves=cves,
    )
    old, new = tree(story, version, fixed=False) / "app", tree(story, version, fixed=True) / "app"
    made = build(release, base(story.root, version), {"app": ComponentTrees(old, new)})
    return made.signed(keys(release_role(OS)))


def publish(story: Story, serial: int, versions: list[str], bundles: list[Bundle]) -> None:
    """A catalogue of these bases, oldest first, and improvements."""
    catalogue = make_catalogue(
        os=OS,
        serial=serial,
        issued=story.now,
        expires=story.now + 60 * DAY,
        bases=[CatalogueBase(v, BASES[v], (CVE,) if v == "26.4" else ()) for v in versions],
        improvements=[Published(one.manifest, one.digest, story.now + 250 * DAY) for one in bundles],
    )
    document = sign(Catalogue.TYPE, catalogue.dumps(), keys(release_role(OS)))
    (story.offers / "macos.catalogue").write_bytes(document.to_bytes())
    for one in bundles:
        (story.offers / f"{one.manifest.id}.bundle").write_bytes(one.to_bytes())


def offer(story: Story, bundle: Bundle, *, channel: str, phase: int) -> None:
    """The first permission of an improvement; from then on `Rollout` moves it."""
    permit = make_permit(bundle.manifest, bundle.digest, issued=story.now, channel=channel, phase=phase)
    document = sign(DeviceManifest.TYPE, permit.dumps(), keys(PERSONALISER))
    (story.offers / f"{bundle.manifest.id}.manifest").write_bytes(document.to_bytes())


def move(story: Story, id: str, phase: int) -> None:
    """Raise a phase, as `deltaseal rollout set` does."""
    place = FolderPlace(story.offers, trust(), now=story.now)
    carry_out(Rollout(place, story.now).set(id, phase=phase), place, keys(PERSONALISER))


# ---- the devices -----------------------------------------------------------------------------------------


def make_devices(story: Story, count: int) -> list[Device]:
    """Devices on 26.3, every tenth of them on channel seed."""
    document = sign(Base.TYPE, base(story.root, "26.3").dumps(), keys(release_role(OS)))
    (story.root / "devices").mkdir()
    return [
        create(
            story.root / "devices" / f"d{number:03}",
            base=document,
            trees=tree(story, "26.3", fixed=False),
            trust=trust(),
            model=MODEL,
            channel="seed" if number % 10 == 0 else "stable",
            edge=story.edge(),
        )
        for number in range(count)
    ]


def rebase(story: Story, device: Device, version: str) -> None:
    """The full update."""
    document = sign(Base.TYPE, base(story.root, version).dumps(), keys(release_role(OS)))
    device.rebase(document, tree(story, version, fixed=version == "26.4"))


def look_all(story: Story, devices: list[Device]) -> None:
    """Every device looks once and reports; then the fleet takes the reports in."""
    source = DirectorySource(story.offers)
    for device in devices:
        found = look(device, lambda: [source], story.edge())
        report_look(device.path, found, [str(story.root / "inbox")], story.edge())
    with open_fleet(story.root / "fleet.db") as fleet:
        follow(fleet, source, now=story.now)
        ingest(fleet, spools(story), now=story.now, done=lambda name: Path(name).unlink())


def spools(story: Story) -> Iterator[tuple[str, Callable[[], Iterator[UnverifiedDocument]]]]:
    """The reports that came in."""
    for path in sorted((story.root / "inbox").iterdir()):
        yield str(path), functools.partial(read, path)


def read(path: Path) -> Iterator[UnverifiedDocument]:
    """The documents of a file."""
    with FileSource(path) as source:
        yield from documents_of(source)


def tell(story: Story, words: str) -> None:
    """How many are open now, and why."""
    with open_fleet(story.root / "fleet.db") as fleet:
        found = exposure_to(fleet, publisher_of(fleet), CVE, now=story.now)
    why = ", ".join(f"{reason} {count}" for reason, count in found.reasons.items())
    story.say(f"{words}: {found.open} of {found.total} open" + (f" ({why})" if why else ""))


def play(root: Path, count: int) -> None:
    """The story."""
    story = Story(root, when("01-14 09:00"))
    for name in ("offers", "inbox", "trees"):
        (root / name).mkdir()
    devices = make_devices(story, count)
    with create_fleet(root / "fleet.db", trust()) as fleet:
        cards = [read_enrolment(UnverifiedDocument.loads(device.enrolment())) for device in devices]
        enroll(fleet, cards, now=story.now)
    story.say(f"{count} devices on macOS 26.3 are enrolled; every tenth is on channel seed")

    beta = improvement(story, "26.3", 1, cves=())
    publish(story, 1, ["26.3"], [beta])
    offer(story, beta, channel="seed", phase=10_000)
    look_all(story, devices)
    seed = [device for device in devices if device.status().letter == "a"]
    story.say(f"26.3 (a), a test that closes nothing, is on {len(seed)} devices: those of channel seed")

    quiet = devices[7::20]  # put away, and heard of no more
    at_work = [device for device in devices if device not in quiet]
    story.now = when("03-04 18:00")
    for device in at_work:
        rebase(story, device, "26.3.1")
    left = sum(device.status().letter is not None for device in at_work)
    story.say(f"macOS 26.3.1, a full update: {left} devices still have the test, it ended with its base")

    story.now = when("03-17 17:00")
    fix = improvement(story, "26.3.1", 2, cves=(FIX,))
    publish(story, 2, ["26.3", "26.3.1"], [beta, fix])
    offer(story, fix, channel="stable", phase=1_000)
    (at_work[3].path / "policy.toml").write_text('updates = "off"\n')
    look_all(story, at_work)
    tell(story, "26.3.1 (a) closes CVE-2026-20643, at 10 %")
    for hour, phase in (("03-18 17:00", 2_500), ("03-19 17:00", 5_000), ("03-20 17:00", 10_000)):
        story.now = when(hour)
        advise(story)
        move(story, fix.manifest.id, phase)
        look_all(story, at_work)
        tell(story, f"the phase goes to {phase / 100:g} %")
    story.now = when("03-24 19:00")
    publish(story, 3, ["26.3", "26.3.1", "26.4"], [beta, fix])
    for device in at_work:
        rebase(story, device, "26.4")
    look_all(story, at_work)
    tell(story, "macOS 26.4, a full update that includes the fix")
    with open_fleet(story.root / "fleet.db") as fleet:
        found = exposure_to(fleet, publisher_of(fleet), CVE, now=story.now)
    for percent, seconds in found.until.items():
        words = "not yet" if seconds is None else f"after {seconds / 3_600:.0f} hours"
        story.say(f"{percent} % protected: {words}")


def advise(story: Story) -> None:
    """What the fleet recommends."""
    with open_fleet(story.root / "fleet.db") as fleet:
        for progress, advice in recommendations(fleet, publisher_of(fleet), now=story.now):
            if progress.active:
                story.say(f"recommended: {advice.what} {advice.id}: {advice.sentence}")


def main() -> None:
    """Play it in a folder of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--devices", type=int, default=40)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deltaseal-story-") as name:
        play(Path(name), asked.devices)


if __name__ == "__main__":
    main()
