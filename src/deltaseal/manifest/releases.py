"""What the release role signs about content: bases and bundle manifests.

The bodies are JSON objects, described field by field in docs/spec/manifests.md.
A value of a class here is well formed; that it is signed is known only of a
value that came out of :mod:`deltaseal.manifest.verified`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from deltaseal.errors import LimitError
from deltaseal.manifest import fields
from deltaseal.manifest.fields import Fields, read_object
from deltaseal.trust import strict_json

FORMAT: Final = 0  # of every body on the page; exact match until release 1.0

Names = Literal["sensitive", "insensitive"]

NAMES: Final[tuple[Names, ...]] = ("sensitive", "insensitive")
ACTIVATIONS: Final = ("relaunch", "restart")
EXPLOITATION: Final = ("not-stated", "none-known", "reported")

ROUTE_BASELINE: Final = "delta-baseline"
ROUTE_LETTER: Final = "delta-letter"
ROUTE_WHOLE: Final = "whole"
ROUTES: Final = (ROUTE_BASELINE, ROUTE_LETTER, ROUTE_WHOLE)


@dataclass(frozen=True, slots=True)
class Limits:
    """What applying may use (R16): stated by the signed manifest, under a hard cap."""

    output_bytes: int  # written in all, over every component
    memory_bytes: int  # of the confined child
    seconds: int  # of the confined child, for one image
    entries: int  # of one tree listing

    def to_json(self) -> dict[str, int]:
        """The limits as JSON values."""
        return {
            "bytes": self.output_bytes,
            "entries": self.entries,
            "memory": self.memory_bytes,
            "seconds": self.seconds,
        }

    @classmethod
    def read(cls, source: Fields) -> Limits:
        """Read the limits; over the hard cap is a ``LimitError``."""
        limits = cls(
            output_bytes=source.number("bytes"),
            memory_bytes=source.number("memory"),
            seconds=source.number("seconds"),
            entries=source.number("entries"),
        )
        stated = limits.to_json()
        for name, cap in HARD_CAP.to_json().items():
            if stated[name] > cap:
                raise LimitError(
                    f"the manifest states a limit of {stated[name]} for {name}; at most {cap} is allowed",
                    limit=name,
                    stated=stated[name],
                    cap=cap,
                )
        return limits


# No signed manifest goes over these: 1 TiB, 8 GiB, one hour, and the entries of H14.
HARD_CAP: Final = Limits(output_bytes=2**40, memory_bytes=2**33, seconds=3600, entries=2**20)


@dataclass(frozen=True, slots=True)
class Base:
    """One exact starting point: what each improvable component is, by tree digest."""

    TYPE: ClassVar[str] = "deltaseal/base"

    os: str
    version: str
    build: str
    components: Mapping[str, str]  # name: tree digest, hexadecimal
    names: Names = "sensitive"  # whether the file system tells "A" from "a"
    exclude: tuple[str, ...] = ()  # paths that a scan leaves out (H12)

    def to_json(self) -> dict[str, Any]:
        """The body as JSON values."""
        return {
            "format": FORMAT,
            "os": self.os,
            "version": self.version,
            "build": self.build,
            "components": dict(self.components),
            "names": self.names,
            "exclude": list(self.exclude),
        }

    def dumps(self) -> bytes:
        """The body, in its one written form."""
        return strict_json.dumps(self.to_json())

    @classmethod
    def loads(cls, body: bytes) -> Base:
        """Read a body; whatever is not exactly of this form is refused (E_TYPE)."""
        return read_object(strict_json.loads(body), "base", cls._read)

    @classmethod
    def _read(cls, source: Fields) -> Base:
        source.number("format", most=FORMAT)
        return cls(
            os=source.text("os", fields.OS),
            version=source.text("version", fields.VERSION),
            build=source.text("build", fields.BUILD),
            components=source.named_texts("components", fields.COMPONENT, fields.DIGEST),
            names=source.choice("names", NAMES),
            exclude=source.texts("exclude"),
        )


@dataclass(frozen=True, slots=True)
class Fix:
    """One closed hole, in plain words for people; every text but ``cve`` and ``component`` may be empty."""

    cve: str
    component: str
    title: str = ""
    impact: str = ""
    cause: str = ""
    credit: str = ""
    reference: str = ""
    exploitation: str = "not-stated"

    def to_json(self) -> dict[str, Any]:
        """The fix as JSON values; empty texts are left out."""
        texts = {name: getattr(self, name) for name in ("title", "impact", "cause", "credit", "reference")}
        stated = {} if self.exploitation == EXPLOITATION[0] else {"exploitation": self.exploitation}
        filled = {name: text for name, text in texts.items() if text}
        return {"cve": self.cve, "component": self.component, **filled, **stated}

    @classmethod
    def read(cls, source: Fields) -> Fix:
        """Read one fix."""
        return cls(
            cve=source.text("cve", fields.CVE),
            component=source.text("component", fields.COMPONENT),
            title=source.text_or_empty("title"),
            impact=source.text_or_empty("impact"),
            cause=source.text_or_empty("cause"),
            credit=source.text_or_empty("credit"),
            reference=source.text_or_empty("reference"),
            exploitation=(
                source.choice("exploitation", EXPLOITATION) if source.has("exploitation") else EXPLOITATION[0]
            ),
        )


@dataclass(frozen=True, slots=True)
class Route:
    """One way from a tree that a device has to the result: a payload of the bundle."""

    kind: str  # one of ROUTES
    sha256: str  # of the payload
    size: int  # of the payload, bytes to fetch
    written_bytes: int  # of new or changed files, to be written
    written_files: int
    from_letter: str | None = None  # delta-letter only: the letter whose result it starts from
    from_tree: str | None = None  # delta-letter only: the tree digest of that result

    def to_json(self) -> dict[str, Any]:
        """The route as JSON values."""
        values: dict[str, Any] = {
            "kind": self.kind,
            "sha256": self.sha256,
            "size": self.size,
            "bytes": self.written_bytes,
            "files": self.written_files,
        }
        if self.kind == ROUTE_LETTER:
            values |= {"letter": self.from_letter, "tree": self.from_tree}
        return values

    @classmethod
    def read(cls, source: Fields) -> Route:
        """Read one route."""
        kind = source.choice("kind", ROUTES)
        by_letter = kind == ROUTE_LETTER
        return cls(
            kind=kind,
            sha256=source.text("sha256", fields.DIGEST),
            size=source.number("size", least=1),
            written_bytes=source.number("bytes"),
            written_files=source.number("files"),
            from_letter=source.text("letter", fields.LETTER) if by_letter else None,
            from_tree=source.text("tree", fields.DIGEST) if by_letter else None,
        )


@dataclass(frozen=True, slots=True)
class ComponentChange:
    """What becomes of one component: from which tree, to which tree, by which routes."""

    base_tree: str  # digest of the baseline
    result_tree: str
    result_bytes: int  # of all files of the result
    result_entries: int  # of its listing
    routes: tuple[Route, ...]

    @property
    def baseline_route(self) -> Route:
        """The delta from the baseline, which is always there (R4)."""
        return next(route for route in self.routes if route.kind == ROUTE_BASELINE)

    def to_json(self) -> dict[str, Any]:
        """The change as JSON values."""
        return {
            "base": self.base_tree,
            "result": self.result_tree,
            "bytes": self.result_bytes,
            "entries": self.result_entries,
            "routes": [route.to_json() for route in self.routes],
        }

    @classmethod
    def read(cls, source: Fields) -> ComponentChange:
        """Read one change; without a delta from the baseline it is refused."""
        change = cls(
            base_tree=source.text("base", fields.DIGEST),
            result_tree=source.text("result", fields.DIGEST),
            result_bytes=source.number("bytes"),
            result_entries=source.number("entries"),
            routes=source.list_of("routes", Route.read),
        )
        starts = [(route.kind, route.from_letter) for route in change.routes]
        if (ROUTE_BASELINE, None) not in starts:
            raise source.refuse("routes", f"a route of kind {ROUTE_BASELINE} is missing")
        if len(set(starts)) != len(starts):
            raise source.refuse("routes", "two routes start from the same tree")
        return change


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that lies in the bundle beside what devices need."""

    sha256: str
    size: int

    def to_json(self) -> dict[str, Any]:
        """The file as JSON values."""
        return {"sha256": self.sha256, "size": self.size}

    @classmethod
    def read(cls, source: Fields) -> Attached:
        """Read one."""
        return cls(source.text("sha256", fields.DIGEST), source.number("size", least=1))


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """One improvement: for which base and models, with which content, closing what."""

    TYPE: ClassVar[str] = "deltaseal/bundle-manifest"

    id: str
    os: str
    version: str  # of the base; an improvement does not change it
    letter: str
    build: str  # what the build string becomes
    base_build: str
    sequence: int
    issued: int  # seconds since 1970
    models: tuple[str, ...]  # an empty list means nobody (R6)
    activation: str  # one of ACTIVATIONS
    processes: tuple[str, ...]
    cves: tuple[Fix, ...]
    components: Mapping[str, ComponentChange]
    limits: Limits
    vex: Attached | None = None  # an OpenVEX document, beside the payloads of the routes

    @property
    def fixed(self) -> frozenset[str]:
        """The names of the closed holes."""
        return frozenset(fix.cve for fix in self.cves)

    def payloads(self) -> tuple[tuple[str, int], ...]:
        """Digest and size of each payload, in the order in which they lie in the bundle.

        The order: components by name, routes as listed, then the OpenVEX document; a
        payload that is named more than once lies at its first place only.
        """
        routes = (route for name in sorted(self.components) for route in self.components[name].routes)
        sizes = {route.sha256: route.size for route in routes}
        if self.vex is not None:
            sizes.setdefault(self.vex.sha256, self.vex.size)
        return tuple(sizes.items())

    def to_json(self) -> dict[str, Any]:
        """The body as JSON values."""
        return {
            "format": FORMAT,
            "id": self.id,
            "os": self.os,
            "version": self.version,
            "letter": self.letter,
            "build": self.build,
            "base_build": self.base_build,
            "sequence": self.sequence,
            "issued": self.issued,
            "models": list(self.models),
            "activation": self.activation,
            "processes": list(self.processes),
            "cves": [fix.to_json() for fix in self.cves],
            "components": {name: change.to_json() for name, change in self.components.items()},
            "limits": self.limits.to_json(),
            **({} if self.vex is None else {"vex": self.vex.to_json()}),
        }

    def dumps(self) -> bytes:
        """The body, in its one written form; its SHA-256 is the bundle digest."""
        return strict_json.dumps(self.to_json())

    @classmethod
    def loads(cls, body: bytes) -> BundleManifest:
        """Read a body; E_TYPE where it is not of this form, E_LIMIT over the hard cap."""
        return read_object(strict_json.loads(body), "bundle manifest", cls._read)

    @classmethod
    def _read(cls, source: Fields) -> BundleManifest:
        source.number("format", most=FORMAT)
        manifest = cls(
            id=source.text("id", fields.IMPROVEMENT),
            os=source.text("os", fields.OS),
            version=source.text("version", fields.VERSION),
            letter=source.text("letter", fields.LETTER),
            build=source.text("build", fields.BUILD),
            base_build=source.text("base_build", fields.BUILD),
            sequence=source.number("sequence", least=1),
            issued=source.number("issued"),
            models=source.texts("models", fields.MODEL),
            activation=source.choice("activation", ACTIVATIONS),
            processes=source.texts("processes"),
            cves=source.list_of("cves", Fix.read),
            components=source.named("components", fields.COMPONENT, ComponentChange.read),
            limits=source.nested("limits", Limits.read),
            vex=source.nested("vex", Attached.read) if source.has("vex") else None,
        )
        manifest._check_whole(source)
        return manifest

    def _check_whole(self, source: Fields) -> None:
        if not self.components:
            raise source.refuse("components", "an improvement changes at least one component")
        if len(self.fixed) != len(self.cves):
            raise source.refuse("cves", "the same hole is listed twice")
        routes = [route for change in self.components.values() for route in change.routes]
        sizes: dict[str, int] = {} if self.vex is None else {self.vex.sha256: self.vex.size}
        for route in routes:
            if sizes.setdefault(route.sha256, route.size) != route.size:
                raise source.refuse("components", "one payload is listed with two sizes")
