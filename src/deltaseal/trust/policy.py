"""Who may sign what: roles, "k of each algorithm", and the step from unverified to verified.

The pinned trust file (docs/spec/documents.md, section 6) names the roles.  A
signature counts only for key *material* that the role lists, so neither a key
under two names nor a key that signs twice counts twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from types import MappingProxyType
from typing import Any

from deltaseal.errors import DocumentTypeError, ExpiredError, SignatureError
from deltaseal.trust import strict_json
from deltaseal.trust.documents import UnverifiedDocument, pre_authentication_encoding
from deltaseal.trust.keys import ALGORITHMS, Algorithm, PublicKey, algorithm_by_id

__all__ = ["Role", "Trust", "VerifiedDocument"]

FORMAT = 0
MAX_ROLES = 256
MAX_KEYS = 32  # of one role; with MAX_SIGNATURES this bounds the work of one verification

_PASSED = object()  # what only this module holds: the proof that a document passed


@dataclass(frozen=True, slots=True)
class VerifiedDocument:
    """A document whose signatures, type and trust have passed; only :meth:`Trust.verify` makes one.

    ``digest`` is the SHA-256 of the body; ``signed_by`` are the role's keys whose signatures are good.
    """

    type: str
    body: bytes
    digest: bytes
    role: str
    signed_by: tuple[PublicKey, ...]
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        if proof is not _PASSED:
            raise TypeError("a verified document comes from Trust.verify only")


@dataclass(frozen=True, slots=True)
class Role:
    """A name, the keys that may sign for it, and how many of each algorithm must.

    Raises ``DocumentTypeError`` unless each known algorithm has a threshold of
    at least 1 that its distinct keys can meet: a role that needs one algorithm
    only would fall with it.
    """

    name: str
    keys: tuple[PublicKey, ...]
    thresholds: Mapping[Algorithm, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", MappingProxyType(dict(self.thresholds)))
        if set(self.thresholds) != set(ALGORITHMS):
            raise self._fault(f"needs a threshold for each of {', '.join(ALGORITHMS)}, and no other")
        if len(self.keys) > MAX_KEYS:
            raise self._fault(f"has {len(self.keys)} keys, {MAX_KEYS} are allowed")
        for algorithm, needed in self.thresholds.items():
            there = len({key for key in self.keys if key.algorithm == algorithm})
            if not isinstance(needed, int) or isinstance(needed, bool) or not 1 <= needed <= there:
                raise self._fault(f"needs {needed!r} of {there} different {algorithm} keys")

    def _fault(self, what: str) -> DocumentTypeError:
        return DocumentTypeError(f"the role {self.name!r} {what}", role=self.name)

    def to_json(self) -> dict[str, Any]:
        """The role as JSON values, without its name."""
        return {"keys": [key.to_json() for key in self.keys], "thresholds": dict(self.thresholds)}

    @classmethod
    def from_json(cls, name: str, value: object) -> Role:
        """Return the role in ``value``.  Raises ``DocumentTypeError`` for anything but exactly a role."""
        fields = _exact(value, {"keys", "thresholds"}, f"the role {name!r}")
        keys, thresholds = fields["keys"], fields["thresholds"]
        if not isinstance(keys, list) or not isinstance(thresholds, dict):
            raise DocumentTypeError(
                f"the role {name!r} has a list of keys and an object of thresholds", role=name
            )
        return cls(name, tuple(PublicKey.from_json(key) for key in keys), thresholds)

    def signed_by(self, document: UnverifiedDocument) -> tuple[PublicKey, ...]:
        """Return the keys of this role that have a good signature on ``document``, each once."""
        message = pre_authentication_encoding(document.type, document.body)
        found: dict[PublicKey, None] = {}
        for signature in document.signatures:
            algorithm = algorithm_by_id(signature.algorithm_id)
            for key in self.keys:
                hinted = key.algorithm == algorithm and key.key_hint == signature.key_hint
                if hinted and key not in found and key.verify(message, signature.raw):
                    found[key] = None
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a device or a person believes from the start: roles, until when, and since which key epoch.

    ``expires`` in seconds since 1970 UTC.  ``epoch`` rises by one when release keys are replaced.
    """

    roles: Mapping[str, Role]
    expires: int
    epoch: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", MappingProxyType(dict(self.roles)))
        if not 1 <= len(self.roles) <= MAX_ROLES:
            raise DocumentTypeError(f"trust has 1 to {MAX_ROLES} roles, this one has {len(self.roles)}")
        for name, number in (("expires", self.expires), ("epoch", self.epoch)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise DocumentTypeError(f"{name} of a trust file is a number from 0", field=name)

    @classmethod
    def of(cls, *roles: Role, expires: int, epoch: int = 0) -> Trust:
        """Return the trust in these roles, by their names."""
        return cls({role.name: role for role in roles}, expires, epoch)

    def dumps(self) -> bytes:
        """Return the trust file's canonical bytes."""
        return strict_json.dumps(
            {
                "format": FORMAT,
                "kind": "deltaseal/trust",
                "expires": self.expires,
                "epoch": self.epoch,
                "roles": {name: role.to_json() for name, role in self.roles.items()},
            }
        )

    @classmethod
    def load(cls, data: bytes) -> Trust:
        """Read a trust file.  Raises ``DocumentTypeError`` or ``LimitError`` for anything but exactly one."""
        fields = _exact(
            strict_json.loads(data), {"format", "kind", "expires", "epoch", "roles"}, "a trust file"
        )
        if (fields["kind"], fields["format"]) != ("deltaseal/trust", FORMAT):
            raise DocumentTypeError(
                f"this is {fields['kind']!a}, format {fields['format']!a}; "
                f"expected deltaseal/trust, format {FORMAT}"
            )
        roles = fields["roles"]
        if not isinstance(roles, dict):
            raise DocumentTypeError("roles of a trust file is an object")
        return cls(
            {name: Role.from_json(name, value) for name, value in roles.items()},
            fields["expires"],
            fields["epoch"],
        )

    def verify(self, document: UnverifiedDocument, *, role: str, type: str, now: int) -> VerifiedDocument:
        """Return the verified document, or say why not.

        In this order: ``SignatureError`` (unknown role; not k of each
        algorithm), ``DocumentTypeError`` (another type than ``type``),
        ``ExpiredError`` (the trust itself, at ``now``).
        """
        signed_by = self._signed_by(document, role)
        if document.type != type:
            raise DocumentTypeError(
                f"expected a document of type {type}, found {document.type}",
                expected=type,
                found=document.type,
            )
        if now >= self.expires:
            raise ExpiredError(
                "the trust file has expired",
                hint="get the current trust file from the publisher",
                expires=self.expires,
                now=now,
            )
        return VerifiedDocument(type, document.body, document.digest, role, signed_by, _PASSED)

    def _signed_by(self, document: UnverifiedDocument, name: str) -> tuple[PublicKey, ...]:
        role = self.roles.get(name)
        if role is None:
            raise SignatureError(
                f"nobody is trusted for the role {name!r}", role=name, roles=sorted(self.roles)
            )
        signed_by = role.signed_by(document)
        found = {a: sum(key.algorithm == a for key in signed_by) for a in ALGORITHMS}
        lacking = [a for a in ALGORITHMS if found[a] < role.thresholds[a]]
        if lacking:
            counts = ", ".join(f"{found[a]} of {role.thresholds[a]} {a}" for a in lacking)
            raise SignatureError(
                f"not enough good signatures of the role {name!r}: {counts}",
                role=name,
                type=document.type,
                needed=dict(role.thresholds),
                found=found,
                present=len(document.signatures),
            )
        return signed_by


def _exact(value: object, names: set[str], what: str) -> dict[str, Any]:
    """Return ``value`` if it is an object with exactly these fields."""
    if not isinstance(value, dict):
        raise DocumentTypeError(f"{what} is an object")
    if set(value) != names:
        raise DocumentTypeError(
            f"{what} has exactly the fields {', '.join(sorted(names))}",
            missing=sorted(names - set(value)),
            unknown=sorted(set(value) - names),
        )
    return value
