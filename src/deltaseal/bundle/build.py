"""Building a bundle: from a base, two directories a component, and what the release manager decided.

Deterministic: the same trees, decisions and dates give the same body and
payloads, for any directory, locale, clock and number of threads.  Signatures
stand apart and come last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from deltaseal import trees
from deltaseal.bundle.layout import HEAD_BYTES, Bundle, bare_size_allowed
from deltaseal.errors import BaseMismatchError, DigestError, DocumentTypeError, LimitError, UsageError
from deltaseal.manifest import (
    HARD_CAP,
    ROUTE_BASELINE,
    ROUTE_LETTER,
    ROUTE_WHOLE,
    Attached,
    Base,
    BundleManifest,
    ComponentChange,
    Fix,
    Limits,
    Route,
    check_release,
    vex_document,
)
from deltaseal.storage import BytesSource, RealDisk, chunks
from deltaseal.trust import UnverifiedDocument

Body = TypeVar("Body", Base, BundleManifest)

_MEBIBYTE: Final = 1 << 20
_MEMORY_BYTES: Final = 256 * _MEBIBYTE  # of the applier besides the images that it maps
_SECONDS: Final = 60  # of the applier, and one more for each mebibyte: a slow device does 1 MiB/s


@dataclass(frozen=True, slots=True)
class Release:
    """What the release manager decides about one improvement."""

    id: str
    letter: str
    build: str  # what the build string becomes
    sequence: int
    issued: int  # seconds since 1970
    models: tuple[str, ...]
    activation: str
    processes: tuple[str, ...] = ()
    cves: tuple[Fix, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentTrees:
    """The directories of one component: the baseline, and what it becomes."""

    old: Path
    new: Path


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier release of the same system.

    ``results`` says where the results of its components lie; without a directory
    no delta starts from that component.
    """

    manifest: BundleManifest
    results: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Making:
    """How deltas are made; of these only ``effort`` changes a byte."""

    effort: str = "default"
    threads: int = 1
    progress: trees.Progress | None = None


def make_base(
    os: str,
    version: str,
    build: str,
    components: Mapping[str, Path],
    *,
    names: trees.Names = "sensitive",
    exclude: Sequence[str] = (),
) -> Base:
    """The base whose components are the trees in these directories."""
    digests = {
        name: _scan(directory, exclude=exclude, names=names).digest.hex()
        for name, directory in sorted(components.items())
    }
    base = Base(os, version, build, digests, names, tuple(exclude))
    return _well_formed(Base, base.dumps())


def build(
    release: Release,
    base: Base,
    components: Mapping[str, ComponentTrees],
    *,
    earlier: Sequence[Earlier] = (),
    withdrawn: Collection[str] = (),
    making: Making | None = None,
) -> Bundle:
    """Build an unsigned bundle.

    ``earlier`` holds the releases of the same system so far, ``withdrawn`` the ids
    of those that were withdrawn.  Refuses what breaks R3 (``UsageError`` naming the
    CVE, ``SequenceError``), a directory that is not the base's or the letter's tree
    (``BaseMismatchError`` with both digests), a component that the base does not
    declare or that does not change (``UsageError``), and what would not fit the size
    that a bundle without payloads may have (``LimitError``).
    """
    draft = _draft(release, base)
    check_release(draft, [one.manifest for one in earlier], withdrawn=withdrawn)
    _check_components(base, components)
    starts = [
        one
        for one in sorted(earlier, key=lambda one: one.manifest.letter)
        if (one.manifest.os, one.manifest.base_build) == (base.os, base.build)
        and one.manifest.id not in withdrawn
    ]
    maker = _Maker(base, starts, making or Making())
    made = {name: maker.component(name, components[name]) for name in sorted(components)}
    changes = {name: one.change for name, one in made.items()}
    manifest = replace(draft, components=changes, limits=_limits(list(made.values())))
    manifest = _well_formed(BundleManifest, manifest.dumps())
    payloads = {digest: data for one in made.values() for digest, data in one.payloads.items()}
    if manifest.cves:
        statement = vex_document(manifest)
        attached = Attached(_sha256([statement]), len(statement))
        manifest, payloads = replace(manifest, vex=attached), {**payloads, attached.sha256: statement}
    bundle = Bundle(
        UnverifiedDocument(BundleManifest.TYPE, manifest.dumps()),
        tuple(BytesSource(payloads[digest]) for digest, _ in manifest.payloads()),
    )
    _check_bare_size(bundle, changed_files=sum(one.changed_files for one in made.values()))
    return bundle


def take_signatures(published: Bundle, rebuilt: Bundle) -> Bundle:
    """The rebuilt bundle with the published one's signatures.

    ``DigestError`` says what differs first, if body or payloads are not the same bytes.
    """
    theirs, ours = published.document, rebuilt.document
    if (theirs.type, theirs.body) != (ours.type, ours.body):
        differing = _first_difference(published.manifest, rebuilt.manifest)
        raise DigestError(
            f"the rebuilt bundle is another one: {differing} differs",
            hint="build from the same trees and decisions, with the same deltaseal and zstd",
            expected=published.digest,
            found=rebuilt.digest,
            differs=differing,
        )
    for which, bundle in (("published", published), ("rebuilt", rebuilt)):
        for (digest, _), payload in zip(bundle.manifest.payloads(), bundle.payloads, strict=True):
            if _sha256(chunks(payload)) != digest:
                raise DigestError(f"the {which} bundle is damaged: payload {digest} differs", expected=digest)
    return replace(rebuilt, document=ours.with_signatures(theirs.signatures))


@dataclass(frozen=True, slots=True)
class _Made:
    change: ComponentChange
    payloads: dict[str, bytes]  # by digest
    changed_files: int
    old_bytes: int


class _Maker:
    """Makes the routes of components, all for one base."""

    def __init__(self, base: Base, starts: Sequence[Earlier], making: Making) -> None:
        self._base = base
        self._starts = starts
        self._making = making

    def component(self, name: str, where: ComponentTrees) -> _Made:
        old = self._scan(where.old)
        new = self._scan(where.new, links=old)
        _check_tree(f"the baseline of {name}", old, self._base.components[name])
        if old.digest == new.digest:
            raise UsageError(f"component {name} does not change", hint="leave it out", component=name)
        made = [self._route(ROUTE_BASELINE, where.old, old, where.new, new)]
        made += [letter for letter in self._letters(name, where.new, new) if letter[0].size < made[0][0].size]
        made.append(self._route(ROUTE_WHOLE, where.old, old, where.new, new))
        change = ComponentChange(
            base_tree=old.digest.hex(),
            result_tree=new.digest.hex(),
            result_bytes=_total(new),
            result_entries=len(new.entries),
            routes=tuple(route for route, _ in made),
        )
        payloads = {route.sha256: payload for route, payload in made}
        return _Made(change, payloads, _changed_files(old, new), _total(old))

    def _letters(self, name: str, where: Path, new: trees.Listing) -> list[tuple[Route, bytes]]:
        routes = []
        for one in self._starts:
            change, directory = one.manifest.components.get(name), one.results.get(name)
            if change is None or directory is None:
                continue
            start = self._scan(directory)
            _check_tree(f"the result of {one.manifest.id} in {name}", start, change.result_tree)
            route, payload = self._route(ROUTE_LETTER, directory, start, where, new)
            routes.append(
                (replace(route, from_letter=one.manifest.letter, from_tree=change.result_tree), payload)
            )
        return routes

    def _route(
        self, kind: str, old_dir: Path, old: trees.Listing, new_dir: Path, new: trees.Listing
    ) -> tuple[Route, bytes]:
        payload = trees.diff(
            old_dir,
            new_dir,
            effort=self._making.effort,
            threads=self._making.threads,
            whole=kind == ROUTE_WHOLE,
            exclude=self._base.exclude,
            names=self._base.names,
            progress=self._making.progress,
        )
        _check_unchanged(payload, old, new)
        written = _written(old, new)
        route = Route(
            kind=kind,
            sha256=_sha256([payload]),
            size=len(payload),
            written_bytes=sum(entry.size for entry in written),
            written_files=len(written),
        )
        return route, payload

    def _scan(self, directory: Path, *, links: trees.Links | trees.Listing = "any") -> trees.Listing:
        return _scan(directory, exclude=self._base.exclude, names=self._base.names, links=links)


def _draft(release: Release, base: Base) -> BundleManifest:
    return BundleManifest(
        id=release.id,
        os=base.os,
        version=base.version,
        letter=release.letter,
        build=release.build,
        base_build=base.build,
        sequence=release.sequence,
        issued=release.issued,
        models=release.models,
        activation=release.activation,
        processes=release.processes,
        cves=release.cves,
        components={},
        limits=HARD_CAP,
    )


def _check_components(base: Base, components: Mapping[str, ComponentTrees]) -> None:
    if not components:
        raise UsageError("an improvement changes at least one component")
    for name in sorted(components):
        if name not in base.components:
            raise UsageError(
                f"the base {base.os} {base.build} does not declare component {name} improvable",
                hint=f"it declares: {', '.join(sorted(base.components)) or 'none'}",
                component=name,
            )


def _check_tree(what: str, found: trees.Listing, expected: str) -> None:
    if found.digest.hex() != expected:
        raise BaseMismatchError(
            f"{what} has tree digest {found.digest.hex()}, expected {expected}",
            expected=expected,
            found=found.digest.hex(),
        )


def _check_unchanged(payload: bytes, old: trees.Listing, new: trees.Listing) -> None:
    made = trees.inspect(BytesSource(payload))
    for expected, found in ((old.digest, made.old_digest), (new.digest, made.new_digest)):
        if expected != found:
            raise DigestError(
                "a directory was changed while the bundle was built from it",
                hint="build again, from directories that nobody writes to",
                expected=expected.hex(),
                found=found.hex(),
            )


def _scan(
    directory: Path,
    *,
    exclude: Sequence[str],
    names: trees.Names,
    links: trees.Links | trees.Listing = "any",
) -> trees.Listing:
    disk = RealDisk()
    with disk.open_root(directory) as root:
        return trees.scan(disk, root, exclude=exclude, names=names, links=links)


def _well_formed(kind: type[Body], body: bytes) -> Body:
    # What a reader would refuse was a wrong argument here.
    try:
        return kind.loads(body)
    except DocumentTypeError as error:
        raise UsageError(error.sentence, **error.facts) from error


def _check_bare_size(bundle: Bundle, *, changed_files: int) -> None:
    bare = HEAD_BYTES + len(bundle.document.to_bytes())
    allowed = bare_size_allowed(changed_files=changed_files)
    if bare > allowed:
        raise LimitError(
            f"the bundle without payloads and signatures would take {bare} bytes, allowed are {allowed}",
            hint=f"shorten the texts of the CVEs or the lists, by {bare - allowed} bytes in all",
            found=bare,
            limit=allowed,
        )


def _limits(made: Sequence[_Made]) -> Limits:
    # Generous by rule, so that an honest bundle never meets one (R16); never above the cap.
    output = sum(one.change.result_bytes for one in made)
    mapped = max(one.change.result_bytes + one.old_bytes for one in made)
    memory = _MEMORY_BYTES + -(-mapped // _MEBIBYTE) * _MEBIBYTE
    return Limits(
        output_bytes=output,
        memory_bytes=min(memory, HARD_CAP.memory_bytes),
        seconds=min(_SECONDS + output // _MEBIBYTE, HARD_CAP.seconds),
        entries=max(one.change.result_entries for one in made),
    )


def _files(listing: trees.Listing) -> dict[bytes, trees.Entry]:
    return {entry.path: entry for entry in listing.entries if entry.kind == "file"}


def _written(old: trees.Listing, new: trees.Listing) -> list[trees.Entry]:
    """The files of the new tree that are not the old tree's file of the same path and content."""
    before = _files(old)
    return [
        entry
        for path, entry in _files(new).items()
        if path not in before or before[path].sha256 != entry.sha256
    ]


def _changed_files(old: trees.Listing, new: trees.Listing) -> int:
    before, after = _files(old), _files(new)
    return sum(before.get(path) != after.get(path) for path in before.keys() | after.keys())


def _total(listing: trees.Listing) -> int:
    return sum(entry.size for entry in listing.entries)


def _sha256(pieces: Iterable[bytes]) -> str:
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def _first_difference(one: BundleManifest, other: BundleManifest) -> str:
    theirs, ours = one.to_json(), other.to_json()
    return next((name for name in sorted(theirs) if theirs[name] != ours.get(name)), "the written form")
