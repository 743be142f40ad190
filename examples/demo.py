#!/usr/bin/env python3
"""The whole path on real images, in words: from two versions to a confirmed, removable improvement.

    ./dev demo                 # sets everything up first
    python examples/demo.py    # where deltaseal is installed

Devices fetch from a repository that is served on this machine (127.0.0.1).  Everything it makes stays in
./demo for looking at; running it again begins anew, on any day: today is the release day.  Without a network
it takes a small library that it compiles itself.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bsdiff4
import zstandard
from demo_images import Images, get_images
from loopback import serving

import deltaseal
from deltaseal.errors import DeltasealError
from deltaseal.repo import DirectorySource, DiskFolder, Repository, Source, first_files
from deltaseal.repo.timeline import publish_scenario
from deltaseal.report import Status
from deltaseal.storage import FileSource

SCENARIO = Path(__file__).parent / "march-2026.toml"
DAY = 86_400  # seconds
ROUTES = ("delta-baseline", "whole")

# Which of the demonstration's trees each tree of the scenario is.
STANDS_FOR = {
    "mac": "mac",
    "mac-fixed": "mac-fixed",
    "neo": "neo",
    "neo-fixed": "mac-fixed",
    "phone": "phone",
    "phone-fixed": "phone-fixed",
    "pad": "phone",
    "pad-fixed": "phone-fixed",
}


@dataclass(frozen=True, slots=True)
class Who:
    """A device of the demonstration: its folder, what it is, its base, and the tree that it runs."""

    name: str
    words: str
    model: str
    base: tuple[str, str]  # os and build
    tree: str


MAC_BASE, NEO_BASE = ("macos", "25D2128"), ("macos", "25D2140")

MACBOOK = Who("macbook-pro", "A MacBook Pro", "Mac15,6", MAC_BASE, "mac")
NEO = Who("macbook-neo", "A MacBook Neo, whose base has other bytes", "Mac17,5", NEO_BASE, "neo")
IPHONE = Who("iphone", "An iPhone", "iPhone17,1", ("ios", "23D8133"), "phone")
IPAD = Who("ipad", "An iPad, whose build reads like the iPhone's", "iPad16,3", ("ipados", "23D8133"), "phone")
PERSONAL = Who("macbook-personal", "A MacBook Pro that asks for itself alone", "Mac16,8", MAC_BASE, "mac")
VICTIM = Who("macbook-offered-broken", "A fresh MacBook Pro", "Mac15,6", MAC_BASE, "mac")

# Devices that must refuse what they are offered, and why, in plain words.
REFUSING = (
    (
        Who("neo-wrong-build", "A Neo", "Mac17,5", NEO_BASE, "neo"),
        "macos-26.3.1-a",
        "it was made for another build",
    ),
    (
        Who("neo-other-bytes", "A Neo created from other bytes", "Mac17,5", NEO_BASE, "mac"),
        "macos-26.3.2-a",
        "the build is right, the bytes are not",
    ),
    (
        Who("macbook-restored", "A MacBook Pro restored to the Neo's base", "Mac15,6", NEO_BASE, "neo"),
        "macos-26.3.2-a",
        "this model is not listed",
    ),
)


# ---- how it speaks ---------------------------------------------------------------------------------------


def title(words: str) -> None:
    """A heading."""
    bold, plain = (
        ("\033[1m", "\033[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")
    )
    print(f"\n{bold}{words}{plain}\n{'-' * len(words)}", flush=True)


def say(words: str = "") -> None:
    """A line; of a digest its beginning is enough here."""
    print(re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", words), flush=True)


def same_by_hand(command: str) -> None:
    """The command that does the same."""
    print(f"  $ {command}", flush=True)


def row(*columns: object) -> None:
    """A line of a table: a name, then numbers."""
    name, *rest = columns
    print(f"  {name!s:<46}" + "".join(f"{column!s:>16}" for column in rest), flush=True)


def seconds(taken: Sequence[float]) -> str:
    """A time, for people."""
    return f"{taken[0]:.1f} s"


def equal(same: bool) -> str:
    """How two trees compare, in words."""
    return "every byte is equal" if same else "NOT EQUAL"


def size(number: int) -> str:
    """Bytes, for people."""
    return f"{number:,} B"


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds that the work inside took, in a list of one."""
    taken = [0.0]
    began = time.monotonic()
    yield taken
    taken[0] = time.monotonic() - began


# ---- 1 a delta -------------------------------------------------------------------------------------------


def one_delta(images: Images, into: Path) -> None:
    """Step 1: a delta between two trees, beside what else could be sent."""
    title("1  A delta between two versions")
    say(f"The images: {images.origin}.")
    old, new = images.image_of("mac").read_bytes(), images.image_of("mac-fixed").read_bytes()
    say(f"The largest is {images.image}. To bring its new version to a device one can send:\n")
    row("the whole file", size(len(new)))
    with stopwatch() as taken:
        packed = zstandard.ZstdCompressor(level=19).compress(new)
    row("the whole file, compressed by zstd -19", size(len(packed)), seconds(taken))
    with stopwatch() as taken:
        patch = bsdiff4.diff(old, new)
    row("a patch of bsdiff4", size(len(patch)), seconds(taken))
    with stopwatch() as taken:
        image = deltaseal.diff(images.image_of("mac"), images.image_of("mac-fixed"), into / "image.delta")
    row("a delta of deltaseal", size(image.size), seconds(taken))
    the_whole_tree(images, into)


def the_whole_tree(images: Images, into: Path) -> None:
    """The delta between the trees, applied and compared."""
    old, new, delta, applied = (
        images.tree("mac"),
        images.tree("mac-fixed"),
        into / "tree.delta",
        into / "applied",
    )
    with stopwatch() as taken:
        made = deltaseal.diff(old, new, delta)
    row(f"for all {len(files_of(new))} files of the tree: a delta of", size(made.size), seconds(taken))
    same_by_hand(f"deltaseal diff {old} {new} -o {delta}")
    with stopwatch() as taken:
        deltaseal.apply(old, delta, applied)
    same = same_files(applied, new)
    say(f"\nApplied to the old tree in {seconds(taken)} and compared with the new one: {equal(same)}.")
    same_by_hand(f"deltaseal apply {old} {delta} -o {applied}")
    insist(same, "the applied tree differs")


# ---- 2 a publisher ---------------------------------------------------------------------------------------


def a_publisher(images: Images, folder: Path, edge: deltaseal.Edge) -> deltaseal.BuiltScenario:
    """Step 2: keys, four improvements on four bases, signed."""
    title("2  Keys, and four signed improvements")
    say("The story: a hole in the web engine is closed on four bases at once. Today is the release day.\n")
    scenario = deltaseal.Scenario.loads(SCENARIO.read_text())
    # TUF looks at the clock of this machine, whatever day the edge says it is.
    today = max(edge.now(), edge.build_date, int(time.time())) // DAY * DAY
    signers, private = deltaseal.make_signers(scenario, day_zero=today, random=edge.random)
    keys = deltaseal.save_keys(private, folder / "keys")
    say(f"{len(keys)} private keys in {folder / 'keys'}. Each release role has three of Ed25519 and three of")
    say("ML-DSA-65 and needs two of each: one stolen key, or one broken algorithm, signs nothing.\n")
    with stopwatch() as taken:
        built = deltaseal.build_scenario(
            scenario,
            trees_at={name: images.tree(tree) / "app" for name, tree in STANDS_FOR.items()},
            day_zero=today,
            signers=signers,
            making=deltaseal.Making(effort="fast", threads=os.cpu_count() or 1),
        )
    (folder / "published").mkdir()
    files = built.publish(folder / "published")
    row("improvement", "base build", "its delta", "whole files")
    for bundle in built.bundles.values():
        sizes = {route.kind: route.size for route in bundle.manifest.components["app"].routes}
        row(bundle.manifest.id, bundle.manifest.base_build, *(size(sizes[kind]) for kind in ROUTES))
    published = folder / "published"
    say(f"\nMade in {seconds(taken)}: {len(files)} files in {published}, with the bases, the catalogues and")
    say("a device manifest for each model. The same input gives the same bytes, up to the signatures.")
    same_by_hand(f"deltaseal manifest scenario {SCENARIO} --tree mac {images.tree('mac') / 'app'} ...")
    offline_proof(published / "macos-26.3.1-a.bundle", published / "trust.json", today)
    a_repository(folder / "repository", built, edge)
    return built


def a_repository(place: Path, built: deltaseal.BuiltScenario, edge: deltaseal.Edge) -> None:
    """The same as a repository that devices fetch from: no mirror of it is believed anything."""
    now = max(edge.now(), int(time.time()))
    with stopwatch() as taken:
        done, _ = publish_scenario(DiskFolder(place), built, random=edge.random, now=now)
    report = done[-1].report
    say(f"\nPublished as a repository in {place} in {seconds(taken)}: {report.offers} offers, with")
    say("metadata of TUF in front: two algorithms for every role, a timestamp that lives 24 hours, no mirror")
    say("believed.")
    same_by_hand(f"deltaseal repo scenario {SCENARIO} --tree mac {images_of(place)} ... -o {place}")
    same_by_hand(f"deltaseal repo status {place}")


def images_of(place: Path) -> Path:
    """Where the trees of the demonstration lie."""
    return place.parent / "trees" / "mac" / "app"


def offline_proof(bundle: Path, trust: Path, now: int) -> None:
    """Anybody can verify a bundle, without a network."""
    proof = deltaseal.verify(bundle, trust=trust, now=now)
    same_by_hand(f"deltaseal verify {bundle} --trust {trust}")
    say(f"  good: {proof.known[0]}; signed by {len(proof.signed_by)} keys of {proof.role}")


# ---- 3 devices -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """What devices are made of."""

    folder: Path
    images: Images
    built: deltaseal.BuiltScenario
    edge: deltaseal.Edge
    url: str  # of the repository, on this machine

    @property
    def published(self) -> Path:
        """The files of the publisher, one by one."""
        return self.folder / "published"

    @property
    def root(self) -> Path:
        """What a device is given to believe: the root of the repository."""
        return self.folder / "repository" / "metadata" / "1.root.json"

    def device(self, who: Who) -> deltaseal.Device:
        """Create a device that believes the repository by its root."""
        os, build = who.base
        trust, metadata = first_files(
            self.root.read_bytes(),
            [Repository.at(self.url)],
            os=os,
            build=build,
            model=who.model,
            now=max(self.edge.now(), self.edge.build_date),
        )
        return deltaseal.create_device(
            self.folder / "devices" / who.name,
            base=self.built.bases[who.base],
            trees=self.images.tree(who.tree),
            trust=trust,
            model=who.model,
            edge=self.edge,
            metadata=metadata,
        )

    def source(self, folder: Path | None = None) -> list[Source]:
        """Where offers come from: the repository, or a folder of files."""
        return [DirectorySource(folder) if folder else Repository.at(self.url)]


def devices(world: World) -> dict[Who, deltaseal.Device]:
    """Step 3: devices on their own bases, updated; three that refuse."""
    title("3  Devices, updated")
    (world.folder / "devices").mkdir()
    say(f"The repository is served at {world.url}; a device asks for what is new,")
    say("and fetches what it needs.\n")
    fleet = {}
    for who in (MACBOOK, NEO, IPHONE, IPAD):
        device = fleet[who] = world.device(who)
        before = device.status()
        with stopwatch() as taken:
            status = device.update(world.source())
        say(f"{who.words} ({who.model}), on {before.name}, build {before.build}:")
        show(status, sum(path.stat().st_size for path in files_of(world.images.tree(who.tree))), taken)
    store = fleet[MACBOOK].path
    same_by_hand(
        f"deltaseal device create --store {store} --base {world.published / 'macos-25D2128.base'} "
        f"--trust {world.root} --source {world.url} ..."
    )
    same_by_hand(f"deltaseal device update --store {store} --source {world.url}")
    same_by_hand(f"deltaseal device status --store {store}")
    personal(world)
    refusals(world)
    return fleet


def show(status: Status, whole: int, taken: Sequence[float]) -> None:
    """What a person wants to know of an update."""
    applied = status.applied
    if applied is None:
        raise SystemExit(f"the demonstration failed: {status.name} was not updated")
    say(f"    now runs   {status.name}, build {status.build}: {status.state.lower()}")
    for fix in applied.fixes:
        say(f"    fixed      {fix['cve']} in {fix['title']}: {fix['impact']}")
    cost = f"{size(applied.fetched)} of download, for a component of {size(whole)}"
    say(f"    it cost    {cost}; {seconds(taken)}\n")


def personal(world: World) -> None:
    """A device manifest for one device alone, which answers its request."""
    device = world.device(PERSONAL)
    request = device.request()
    folder = world.folder / "personal"
    folder.mkdir()
    document = world.built.personalise("macos-26.3.1-a", request)
    (folder / "for-one-device.manifest").write_bytes(document.to_bytes())
    for name in ("macos-26.3.1-a.bundle", "macos.catalogue"):
        shutil.copy(world.published / name, folder)
    status = device.update(world.source(folder))
    say(f"\n{PERSONAL.words} ({PERSONAL.model}) sends its id and a fresh nonce; the device manifest that")
    say(f"answers is for it and this once: it now runs {status.name}.")
    same_by_hand(f"deltaseal device request --store {device.path} -o my.request")
    same_by_hand("deltaseal manifest issue macos-26.3.1-a.bundle --request my.request ... -o my.manifest")


def refusals(world: World) -> None:
    """Three offers that must be refused, each by a device of its own."""
    say("\nThree offers that a device must refuse:")
    for who, offered, words in REFUSING:
        device = world.device(who)
        say(f"\n  {who.words} ({who.model}, build {who.base[1]}) is offered {offered}: {words}.")
        try:
            device.install(offered, world.source())
        except DeltasealError as refusal:
            say(f"    refused    {refusal.reason}: {refusal.sentence}")
            say(f"    decided by {fact(refusal)}")
            insist(device.status().applied is None, "a refused improvement is applied")
        else:
            insist(False, f"{offered} was not refused")
    same_by_hand(f"deltaseal device install {offered} --store {device.path} --source {world.url}; echo $?")


def fact(refusal: DeltasealError) -> str:
    """The fact that decided a refusal."""
    facts: dict[str, Any] = refusal.facts
    expected = facts["expected"]
    named = ", ".join(expected) if isinstance(expected, list) else expected
    return f"{facts['step']}: expected {named}; found {facts['found']}"


# ---- 4 removal -------------------------------------------------------------------------------------------


def removal(world: World, device: deltaseal.Device) -> None:
    """Step 4: off again, byte for byte; on again, because a person asks."""
    title("4  Taken off, and put on again")
    store = device.path
    with stopwatch() as taken:
        status = device.remove()
    same = same_files(store / "active" / "app", world.images.tree("mac") / "app")
    say(
        f"Removed in {taken[0]:.2f} s, without a network: it runs {status.name}, build {status.build}, again."
    )
    say(f"Compared with the tree that it was created from: {equal(same)}.")
    same_by_hand(f"deltaseal device remove --store {store}")
    insist(same, "the baseline differs")
    try:
        device.update(world.source())
        insist(False, "what a person removed came back by itself")
    except DeltasealError as refusal:
        say(f"\nBy itself it does not come back: {refusal.reason}: {refusal.sentence}.")
    status = device.install("macos-26.3.1-a", world.source())
    by = status.applied.by if status.applied else "nobody"
    say(f"A person asks for it: it runs {status.name}, {status.state.lower()}, asked for by {by}.")
    same_by_hand(f"deltaseal device install macos-26.3.1-a --store {store} --source {world.url}")
    say("\nThe end of its journal:")
    for entry in device.history()[-6:]:
        say(f"    {entry.state:<10} {entry.sentence}")
    same_by_hand(f"deltaseal device history --store {store}")


# ---- 5 damage --------------------------------------------------------------------------------------------


def damage(world: World, device: deltaseal.Device) -> None:
    """Step 5: one broken byte in a bundle, one in a live image."""
    title("5  Two broken bytes")
    broken_bundle(world)
    broken_image(world, device)


def broken_bundle(world: World) -> None:
    """A byte of a delta inside a bundle is changed: verifying finds it, and a device refuses it."""
    broken = world.folder / "broken"
    shutil.copytree(world.published, broken)
    bundle = broken / "macos-26.3.1-a.bundle"
    at = change_a_byte(bundle, middle_of_the_delta(bundle))
    say(f"A byte of {bundle} is changed: number {at:,}, in the delta.")
    same_by_hand(f"deltaseal verify {bundle} --trust {broken / 'trust.json'}")
    expect(lambda: deltaseal.verify(bundle, trust=broken / "trust.json", now=world.edge.now()))
    victim = world.device(VICTIM)
    before = digests(victim.path / "active" / "app")
    say(f"{VICTIM.words} is offered that bundle:")
    expect(lambda: victim.update(world.source(broken)))
    unchanged = before == digests(victim.path / "active" / "app")
    say(f"  It still runs {victim.status().name}; its {len(before)} files are {as_before(unchanged)}.")
    insist(unchanged, "a broken bundle changed the device")


def broken_image(world: World, device: deltaseal.Device) -> None:
    """A byte of a live image is changed: the device finds it, and looking changes nothing."""
    image = device.path / "active" / world.images.image
    at = change_a_byte(image, image.stat().st_size // 2)
    say(f"\nA byte of the live image {image}")
    say(f"is changed behind the device's back: number {at:,}.")
    before = digests(device.path)
    same_by_hand(f"deltaseal device verify --store {device.path}")
    findings = device.verify()
    for finding in findings:
        say(f"  found      {finding.reason}: {finding.sentence}")
    unchanged = before == digests(device.path)
    say(f"  Looking changed nothing: all {len(before)} files of the device are {as_before(unchanged)}.")
    insist(bool(findings) and unchanged, "the damage was not found, or looking changed something")


def as_before(unchanged: bool) -> str:
    """How files are, in words."""
    return "byte for byte as before" if unchanged else "CHANGED"


def expect(act: Any) -> None:
    """Do what must be refused, and say how."""
    try:
        act()
    except DeltasealError as refusal:
        say(f"  found      {refusal.reason}: {refusal.sentence}")
    else:
        insist(False, "a broken byte was not found")


def middle_of_the_delta(bundle: Path) -> int:
    """Where the middle of the first payload lies: the delta from the baseline."""
    with FileSource(bundle) as source:
        opened = deltaseal.open_bundle(source)
        return opened.payloads_at + opened.claimed().components["app"].baseline_route.size // 2


def change_a_byte(path: Path, at: int) -> int:
    """Change one byte of a file; returns where."""
    with path.open("r+b") as file:
        file.seek(at)
        value = file.read(1)[0]
        file.seek(at)
        file.write(bytes([value ^ 1]))
    return at


# ---- looking at files ------------------------------------------------------------------------------------


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder, links not followed."""
    found = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if not path.is_symlink())


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    ours = [path.relative_to(one) for path in files_of(one)]
    theirs = [path.relative_to(other) for path in files_of(other)]
    return ours == theirs and all(filecmp.cmp(one / name, other / name, shallow=False) for name in ours)


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, and the SHA-256 of each."""
    return {str(path): sha256(path) for path in files_of(folder)}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def insist(held: bool, words: str) -> None:
    """End at once where the demonstration does not show what it says."""
    if not held:
        raise SystemExit(f"the demonstration failed: {words}")


# ---- the whole -------------------------------------------------------------------------------------------


def fresh(folder: Path) -> None:
    """Take away what an earlier run left; downloads stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("trees", "deltas", "keys", "published", "repository", "personal", "devices", "broken"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("downloads", "deltas"):
        (folder / name).mkdir(exist_ok=True)


def run(folder: Path, edge: deltaseal.Edge, *, offline: bool) -> None:
    """Run all five steps in a folder; whatever day the edge's clock says is the release day."""
    with stopwatch() as taken:
        fresh(folder)
        say("deltaseal: small signed binary improvements, shown in five steps.")
        images = get_images(folder / "trees", folder / "downloads", offline=offline, say=say)
        one_delta(images, folder / "deltas")
        built = a_publisher(images, folder, edge)
        with serving(folder / "repository") as url:
            world = World(folder, images, built, edge, url)
            fleet = devices(world)
            removal(world, fleet[MACBOOK])
            damage(world, fleet[NEO])
    title(f"Done in {taken[0]:.0f} s")
    say(f"Everything is in {folder}{os.sep} to be looked at: try `deltaseal inspect` on any file of it.")


def main() -> None:
    """Run the demonstration from the command line."""
    parser = argparse.ArgumentParser(
        description="The whole path, from two versions to a removable improvement."
    )
    parser.add_argument(
        "--into", type=Path, default=Path("demo"), help="the folder to work in (default: demo)"
    )
    parser.add_argument("--offline", action="store_true", help="take the compiled library, ask no network")
    given = parser.parse_args()
    try:
        run(given.into, deltaseal.system_edge(), offline=given.offline)
    except DeltasealError as error:
        raise SystemExit(f"{error.reason}: {error.sentence} ({error.hint})") from error


if __name__ == "__main__":
    main()
