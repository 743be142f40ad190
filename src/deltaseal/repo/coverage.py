"""Which base and letter fix a hole: read from catalogues alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from deltaseal.manifest import Catalogue, full_name

__all__ = ["Coverage", "coverage"]

How = Literal["full update", "improvement", "withdrawn", "expired", "open"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a base says to one hole."""

    os: str
    version: str
    build: str
    how: How
    letter: str = ""
    id: str = ""

    @property
    def sentence(self) -> str:
        """In words."""
        base = f"{full_name(self.os, self.version)} build {self.build}"
        return {
            "full update": f"{base}: fixed, the full update includes it",
            "improvement": f"{base}: fixed from ({self.letter}) on, {self.id}",
            "withdrawn": f"{base}: open again, {self.id} was withdrawn",
            "expired": f"{base}: fixed where ({self.letter}) is applied, but {self.id} is offered no more",
            "open": f"{base}: not fixed",
        }[self.how]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = {"os": self.os, "version": self.version, "build": self.build, "how": self.how}
        return {**values, "letter": self.letter or None, "id": self.id or None}


def coverage(catalogues: Iterable[Catalogue], cve: str, *, now: int) -> list[Coverage]:
    """What each base of each catalogue says to a hole; nothing where no catalogue ever heard of it."""
    known = [one for one in catalogues if _knows(one, cve)]
    return [_of_base(one, build, cve, now) for one in known for build in (base.build for base in one.bases)]


def _knows(catalogue: Catalogue, cve: str) -> bool:
    return any(cve in base.includes for base in catalogue.bases) or any(
        cve in entry.cves for entry in catalogue.improvements
    )


def _of_base(catalogue: Catalogue, build: str, cve: str, now: int) -> Coverage:
    base = next(one for one in catalogue.bases if one.build == build)
    here = (catalogue.os, base.version, build)
    if cve in base.includes:
        return Coverage(*here, "full update")
    fixing = [entry for entry in catalogue.improvements if entry.base_build == build and cve in entry.cves]
    offered = sorted(
        (entry for entry in fixing if catalogue.withdrawal(entry.id) is None), key=lambda one: one.letter
    )
    for how, entries in (
        ("improvement", [entry for entry in offered if now < entry.expires]),
        ("expired", offered),
        ("withdrawn", fixing),
    ):
        if entries:
            return Coverage(*here, how, entries[0].letter, entries[0].id)  # type: ignore[arg-type]
    return Coverage(*here, "open")
