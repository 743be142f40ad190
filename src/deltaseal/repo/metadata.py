"""TUF metadata as this project uses it: role files, keys and rules, to and from our own values.

The one module, with :mod:`deltaseal.repo.client`, that speaks python-tuf.  Foreign bytes come in through
:func:`read`, which makes every fault in them ``DocumentTypeError``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from securesystemslib.signer import Key, Signature, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Metadata, Root, Snapshot, SuccinctRoles, Targets, Timestamp
from tuf.api.metadata import Role as TufRole
from tuf.api.serialization.json import JSONSerializer

from deltaseal.errors import DeltasealError, DocumentTypeError, LimitError, SignatureError
from deltaseal.trust import Algorithm, PublicKey, Role, Signer

__all__ = [
    "EPOCH",
    "THRESHOLDS",
    "Body",
    "add_signatures",
    "delegated_roles",
    "dump",
    "expiry",
    "good_keys",
    "is_satisfied",
    "key_of",
    "lacking",
    "moment",
    "read",
    "rule_of",
    "rule_values",
    "tuf_key",
]

THRESHOLDS: Final = "x-deltaseal-thresholds"
EPOCH: Final = "x-deltaseal-epoch"
MAX_SIGNATURES: Final = 64  # of one role file: twice the keys that a role may have
MAX_BIN_BITS: Final = 8

Body = Root | Timestamp | Snapshot | Targets
T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


def read(data: bytes, kind: type[T]) -> Metadata[T]:
    """A role file that nobody vouches for yet. Raises ``DocumentTypeError`` for all but one of this kind."""
    try:
        found = cast("Metadata[T]", Metadata.from_bytes(data))
    except RepositoryError as error:
        raise DocumentTypeError(f"this is no {kind.type} metadata: {error.__cause__ or error}") from error
    if not isinstance(found.signed, kind):
        raise DocumentTypeError(
            f"expected {kind.type} metadata, found {found.signed.type}",
            expected=kind.type,
            found=found.signed.type,
        )
    return found


def dump(metadata: Metadata[Any]) -> bytes:
    """A role file's bytes, without white space, keys sorted."""
    return metadata.to_bytes(JSONSerializer(compact=True))


def moment(seconds: int) -> datetime:
    """Seconds since 1970 as TUF's expiry."""
    return datetime.fromtimestamp(seconds, UTC)


def expiry(signed: Body) -> int:
    """When a role file ends, in seconds since 1970."""
    return int(signed.expires.timestamp())


# ---- keys ----------------------------------------------------------------------------------------


def tuf_key(key: PublicKey) -> Key:
    """A public key as TUF writes it."""
    if key.algorithm == "ed25519":
        return SSlibKey.from_crypto(ed25519.Ed25519PublicKey.from_public_bytes(key.raw))
    return SSlibKey.from_crypto(mldsa.MLDSA65PublicKey.from_public_bytes(key.raw))


def key_of(key: Key) -> PublicKey | None:
    """A key of TUF as ours; ``None`` for an algorithm, or bytes, that count nothing here."""
    try:
        if (key.keytype, key.scheme) == ("ed25519", "ed25519"):
            return PublicKey("ed25519", bytes.fromhex(key.keyval["public"]))
        if (key.keytype, key.scheme) == ("ml-dsa", "ml-dsa-65/1"):
            found = serialization.load_pem_public_key(key.keyval["public"].encode())
            if isinstance(found, mldsa.MLDSA65PublicKey):
                return PublicKey("ml-dsa-65", found.public_bytes_raw())
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm, DeltasealError):
        pass
    return None


def _message(algorithm: Algorithm, signed: bytes) -> bytes:
    """What a key signs. ML-DSA signs a digest (TUF's TAP 21, version 1)."""
    return signed if algorithm == "ed25519" else b"tuf\x01" + hashlib.sha512(signed).digest()


def add_signatures(metadata: Metadata[Any], signers: Iterable[Signer]) -> None:
    """Sign a role file with each signer, in place of that key's former signature."""
    signed = metadata.signed_bytes
    for signer in signers:
        keyid = tuf_key(signer.public).keyid
        raw = signer.sign(_message(signer.public.algorithm, signed))
        metadata.signatures[keyid] = Signature(keyid, raw.hex())


# ---- rules ---------------------------------------------------------------------------------------


def rule_values(role: Role) -> dict[str, Any]:
    """The fields of a role object that state our rule."""
    return {THRESHOLDS: dict(role.thresholds)}


def rule_of(delegator: Root | Targets, name: str, tuf_role: TufRole) -> Role:
    """The rule of a role, by whoever delegates to it.

    Raises ``SignatureError`` where there is none, or one that its keys cannot meet: nothing can be signed by
    it.
    """
    found = tuf_role.unrecognized_fields.get(THRESHOLDS)
    if not isinstance(found, dict):
        raise SignatureError(f"the role {name!r} has no rule for each algorithm", role=name)
    keys: dict[PublicKey, None] = {}
    for keyid in tuf_role.keyids:
        try:
            key = key_of(delegator.get_key(keyid))
        except ValueError:  # a key id that nothing stands behind
            continue
        if key is not None:
            keys[key] = None
    try:
        return Role(name, tuple(keys), found)
    except DocumentTypeError as error:
        raise SignatureError(error.sentence, role=name) from error


def delegated_roles(targets: Targets) -> dict[str, DelegatedRole | SuccinctRoles]:
    """The roles that a role file delegates to, by name; of bins the one object for each of their names."""
    if targets.delegations is None:
        return {}
    if targets.delegations.succinct_roles is not None:
        bins = targets.delegations.succinct_roles
        if bins.bit_length > MAX_BIN_BITS:
            raise LimitError(
                f"{bins.bit_length} bits of bins, at most {MAX_BIN_BITS} are taken", limit=MAX_BIN_BITS
            )
        return dict.fromkeys(bins.get_roles(), bins)
    return dict(targets.delegations.roles or {})


def good_keys(rule: Role, metadata: Metadata[Any]) -> frozenset[PublicKey]:
    """The keys of a rule that have a good signature on a role file, by their bytes: each counts once."""
    if len(metadata.signatures) > MAX_SIGNATURES:
        raise LimitError(
            f"a role file may have {MAX_SIGNATURES} signatures, this one has {len(metadata.signatures)}",
            limit=MAX_SIGNATURES,
        )
    signed = metadata.signed_bytes
    raw: list[bytes] = []
    for signature in metadata.signatures.values():
        try:
            raw.append(bytes.fromhex(signature.signature))
        except ValueError:
            continue
    return frozenset(
        key
        for key in rule.keys
        if any(key.verify(_message(key.algorithm, signed), each) for each in raw if _fits(key, each))
    )


def _fits(key: PublicKey, signature: bytes) -> bool:
    return len(signature) == {"ed25519": 64, "ml-dsa-65": 3309}[key.algorithm]


def lacking(rule: Role, metadata: Metadata[Any]) -> dict[Algorithm, tuple[int, int]]:
    """Of which algorithms signatures are missing: how many are good, how many are needed."""
    good = good_keys(rule, metadata)
    counted = {name: sum(key.algorithm == name for key in good) for name in rule.thresholds}
    return {
        name: (counted[name], needed) for name, needed in rule.thresholds.items() if counted[name] < needed
    }


def is_satisfied(rule: Role, metadata: Metadata[Any]) -> bool:
    """Whether a role file has k signatures of each algorithm."""
    return not lacking(rule, metadata)
