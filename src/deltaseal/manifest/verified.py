"""From a signed document to a value: verified first, parsed afterwards.

The release role is delegated per system (``release:macos``), and which system a
document speaks of is known only from its body.  So the body stays shut until
one of the release roles has signed it, and then it must speak of that role's
own system (T23).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Generic, Protocol, Self, TypeVar

from deltaseal.errors import ExpiredError, SequenceError, SignatureError
from deltaseal.manifest.catalogue import Catalogue
from deltaseal.manifest.device_manifest import DeviceManifest
from deltaseal.manifest.releases import Base, BundleManifest
from deltaseal.trust import Trust, UnverifiedDocument, VerifiedDocument

RELEASE: Final = "release"
PERSONALISER: Final = "personaliser"


class _Body(Protocol):
    TYPE: ClassVar[str]

    @property
    def os(self) -> str: ...

    @classmethod
    def loads(cls, body: bytes) -> Self: ...


Body = TypeVar("Body", bound=_Body)


@dataclass(frozen=True, slots=True)
class Verified(Generic[Body]):
    """A value with the verified document that it was read from."""

    value: Body
    document: VerifiedDocument

    @property
    def digest(self) -> str:
        """SHA-256 of the exact body, hexadecimal."""
        return self.document.digest.hex()


def release_role(os: str) -> str:
    """The name of the release role of one system."""
    return f"{RELEASE}:{os}"


def verify_base(document: UnverifiedDocument, trust: Trust, *, now: int) -> Verified[Base]:
    """A base, signed by the release role of its own system."""
    return _released(Base, document, trust, now)


def verify_bundle_manifest(
    document: UnverifiedDocument, trust: Trust, *, now: int
) -> Verified[BundleManifest]:
    """A bundle manifest, signed by the release role of its own system."""
    return _released(BundleManifest, document, trust, now)


def verify_catalogue(document: UnverifiedDocument, trust: Trust, *, now: int) -> Verified[Catalogue]:
    """A catalogue, signed by the release role of its own system."""
    return _released(Catalogue, document, trust, now)


def verify_device_manifest(
    document: UnverifiedDocument, trust: Trust, *, now: int
) -> Verified[DeviceManifest]:
    """A device manifest, signed by the personaliser."""
    verified = trust.verify(document, role=PERSONALISER, type=DeviceManifest.TYPE, now=now)
    return Verified(DeviceManifest.loads(verified.body), verified)


def accept_catalogue(
    new: Verified[Catalogue], *, os: str, now: int, last: tuple[int, str] | None = None
) -> None:
    """Refuse a catalogue that a device must not take in.

    ``last`` is the serial and digest of the newest one accepted.  ``SignatureError``
    where it is for another system, ``ExpiredError`` after its end, ``SequenceError``
    where it is older than the last or shares its serial with other content (T02).
    """
    catalogue = new.value
    if catalogue.os != os:
        raise SignatureError(
            f"the catalogue is for {catalogue.os}, this device runs {os}", expected=os, found=catalogue.os
        )
    if now >= catalogue.expires:
        raise ExpiredError(
            f"catalogue {catalogue.serial} has expired",
            serial=catalogue.serial,
            expires=catalogue.expires,
            now=now,
        )
    if last and (catalogue.serial < last[0] or (catalogue.serial == last[0] and new.digest != last[1])):
        raise SequenceError(
            f"the catalogue has serial {catalogue.serial}, this device has already accepted {last[0]}",
            floor=last[0],
            found=catalogue.serial,
        )


def _released(kind: type[Body], document: UnverifiedDocument, trust: Trust, now: int) -> Verified[Body]:
    refusals: list[str] = []
    for role in sorted(name for name in trust.roles if name.startswith(f"{RELEASE}:")):
        try:
            verified = trust.verify(document, role=role, type=kind.TYPE, now=now)
        except SignatureError as error:
            refusals.append(error.sentence)
            continue
        value = kind.loads(verified.body)
        if release_role(value.os) == role:
            return Verified(value, verified)
        refusals.append(f"{role} signed it, but it speaks of {value.os}")
    reasons = "; ".join(dict.fromkeys(refusals)) or "the trust file has no release role"
    raise SignatureError(
        f"no release role signed this {kind.TYPE}: {reasons}", type=kind.TYPE, refusals=refusals
    )
