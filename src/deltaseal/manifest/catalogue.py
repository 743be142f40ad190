"""The catalogue: what there is for one system, in which order, until when, and what is withdrawn.

Signed by the release role.  Field by field: docs/spec/manifests.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from deltaseal.manifest import fields
from deltaseal.manifest.fields import Fields, read_object
from deltaseal.manifest.releases import FORMAT
from deltaseal.trust import strict_json

WITHDRAWALS: Final = ("keep", "remove", "pin")


@dataclass(frozen=True, slots=True)
class CatalogueBase:
    """One base in the catalogue's order, oldest first."""

    version: str
    build: str
    includes: tuple[str, ...] = ()  # holes that this full update closes (R11)

    def to_json(self) -> dict[str, Any]:
        """The base as JSON values."""
        return {"version": self.version, "build": self.build, "includes": list(self.includes)}

    @classmethod
    def read(cls, source: Fields) -> CatalogueBase:
        """Read one base."""
        return cls(
            version=source.text("version", fields.VERSION),
            build=source.text("build", fields.BUILD),
            includes=source.texts("includes", fields.CVE),
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """One improvement in the catalogue; its expiry can be moved here (R9)."""

    id: str
    letter: str
    base_build: str
    bundle: str  # bundle digest, hexadecimal
    sequence: int
    expires: int  # seconds since 1970
    cves: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The improvement as JSON values."""
        return {
            "id": self.id,
            "letter": self.letter,
            "base_build": self.base_build,
            "bundle": self.bundle,
            "sequence": self.sequence,
            "expires": self.expires,
            "cves": list(self.cves),
        }

    @classmethod
    def read(cls, source: Fields) -> Listed:
        """Read one improvement."""
        return cls(
            id=source.text("id", fields.IMPROVEMENT),
            letter=source.text("letter", fields.LETTER),
            base_build=source.text("base_build", fields.BUILD),
            bundle=source.text("bundle", fields.DIGEST),
            sequence=source.number("sequence", least=1),
            expires=source.number("expires"),
            cves=source.texts("cves", fields.CVE),
        )


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A vendor's order: offer this no longer, and keep, remove or pin it where it is."""

    id: str
    action: str  # one of WITHDRAWALS
    reopens: tuple[str, ...]  # holes that are open again

    def to_json(self) -> dict[str, Any]:
        """The order as JSON values."""
        return {"id": self.id, "action": self.action, "reopens": list(self.reopens)}

    @classmethod
    def read(cls, source: Fields) -> Withdrawal:
        """Read one order."""
        return cls(
            id=source.text("id", fields.IMPROVEMENT),
            action=source.choice("action", WITHDRAWALS),
            reopens=source.texts("reopens", fields.CVE),
        )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The signed list for one system."""

    TYPE: ClassVar[str] = "deltaseal/catalogue"

    os: str
    serial: int  # rises with each catalogue of this system
    issued: int  # seconds since 1970; the clock's floor on devices that accept it (R9)
    expires: int  # seconds since 1970
    minimum_sequence: int
    bases: tuple[CatalogueBase, ...]  # oldest first
    improvements: tuple[Listed, ...]
    withdrawals: tuple[Withdrawal, ...] = ()

    def improvement(self, id: str) -> Listed | None:
        """The entry of an improvement, or ``None``."""
        return next((entry for entry in self.improvements if entry.id == id), None)

    def withdrawal(self, id: str) -> Withdrawal | None:
        """The order about an improvement, or ``None``."""
        return next((order for order in self.withdrawals if order.id == id), None)

    def on_base(self, build: str) -> Iterator[Listed]:
        """The improvements of one base that are not withdrawn."""
        return (
            entry
            for entry in self.improvements
            if entry.base_build == build and self.withdrawal(entry.id) is None
        )

    def to_json(self) -> dict[str, Any]:
        """The body as JSON values."""
        return {
            "format": FORMAT,
            "os": self.os,
            "serial": self.serial,
            "issued": self.issued,
            "expires": self.expires,
            "minimum_sequence": self.minimum_sequence,
            "bases": [base.to_json() for base in self.bases],
            "improvements": [entry.to_json() for entry in self.improvements],
            "withdrawals": [order.to_json() for order in self.withdrawals],
        }

    def dumps(self) -> bytes:
        """The body, in its one written form."""
        return strict_json.dumps(self.to_json())

    @classmethod
    def loads(cls, body: bytes) -> Catalogue:
        """Read a body; whatever is not exactly of this form is refused (E_TYPE)."""
        return read_object(strict_json.loads(body), "catalogue", cls._read)

    @classmethod
    def _read(cls, source: Fields) -> Catalogue:
        source.number("format", most=FORMAT)
        catalogue = cls(
            os=source.text("os", fields.OS),
            serial=source.number("serial", least=1),
            issued=source.number("issued"),
            expires=source.number("expires"),
            minimum_sequence=source.number("minimum_sequence"),
            bases=source.list_of("bases", CatalogueBase.read),
            improvements=source.list_of("improvements", Listed.read),
            withdrawals=source.list_of("withdrawals", Withdrawal.read),
        )
        catalogue._check_whole(source)
        return catalogue

    def _check_whole(self, source: Fields) -> None:
        unique = {
            "bases": [base.build for base in self.bases],
            "improvements": [entry.id for entry in self.improvements],
            "withdrawals": [order.id for order in self.withdrawals],
        }
        for name, keys in unique.items():
            if len(set(keys)) != len(keys):
                raise source.refuse(name, "an entry stands there twice")
        if self.expires <= self.issued:
            raise source.refuse("expires", "must lie after issued")
