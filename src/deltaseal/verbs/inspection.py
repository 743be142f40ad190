"""What is in a file, of whatever kind; nothing of it is verified.

Values are for people and for ``--json``; whatever a signed document says is
shown as a claim, since nobody has vouched for it yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaseal.errors import DocumentTypeError
from deltaseal.storage import FileSource, RealDisk
from deltaseal.verbs.kinds import PathLike, kind_of, read_whole

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file is and says. ``claims`` are JSON values; they are unverified."""

    kind: str
    claims: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Kind and claims as JSON values."""
        return {**self.claims, "kind": self.kind}


def inspect(file: PathLike) -> Inspection:
    """Say what a file or directory is and what it says of itself, without trusting it.

    Raises ``DocumentTypeError`` for a file that is none of deltaseal's, ``UsageError`` for nothing at all,
    and what reading it raises where it is damaged.
    """
    path = Path(file)
    return _READERS[kind_of(path)](path)


def _image_delta(path: Path) -> Inspection:
    from deltaseal import images

    with FileSource(path) as source:
        return Inspection("image delta", images.inspect(source.read_at(0, source.size())).to_json())


def _tree_delta(path: Path) -> Inspection:
    from deltaseal import trees

    with FileSource(path) as source:
        return Inspection("tree delta", trees.inspect(source).to_json())


def _tree(path: Path) -> Inspection:
    from deltaseal import trees

    disk = RealDisk()
    with disk.open_root(path) as top:
        listing = trees.scan(disk, top)
    kinds = [entry.kind for entry in listing.entries]
    claims = {
        "digest": listing.digest.hex(),
        "directories": kinds.count("directory"),
        "files": kinds.count("file"),
        "links": kinds.count("link"),
        "bytes": sum(entry.size for entry in listing.entries),
        "listing": listing.dumps().decode("utf-8", "backslashreplace").splitlines(),
    }
    return Inspection("tree", claims)


def _bundle(path: Path) -> Inspection:
    from deltaseal.bundle import open_bundle

    with FileSource(path) as source:
        bundle = open_bundle(source)
        claims = {
            "digest": bundle.digest,
            "size": source.size(),
            "signatures": _signatures(bundle.document),
            "body": bundle.claimed().to_json(),
        }
    return Inspection("bundle", claims)


def _document(path: Path) -> Inspection:
    from deltaseal.trust import UnverifiedDocument, strict_json

    document = UnverifiedDocument.loads(read_whole(path))
    claims = {
        "type": document.type,
        "digest": document.digest.hex(),
        "signatures": _signatures(document),
        "body": strict_json.loads(document.body),
    }
    return Inspection(document.type.rpartition("/")[2].replace("-", " "), claims)


def _signatures(document: Any) -> list[dict[str, Any]]:
    from deltaseal.trust.keys import algorithm_by_id

    return [
        {
            "algorithm": algorithm_by_id(one.algorithm_id) or f"unknown ({one.algorithm_id})",
            "key_hint": one.key_hint.hex(),
            "size": len(one.raw),
        }
        for one in document.signatures
    ]


def _json(path: Path) -> Inspection:
    from deltaseal.manifest import Request
    from deltaseal.trust import PublicKey, Trust, strict_json

    data = read_whole(path)
    values = strict_json.loads(data)
    if values.get("kind") == "deltaseal/trust":
        trust = Trust.load(data)
        roles = {
            name: {
                "thresholds": {algorithm: needed for algorithm, needed in role.thresholds.items()},
                "keys": [_public(key) for key in role.keys],
            }
            for name, role in trust.roles.items()
        }
        return Inspection("trust", {"expires": trust.expires, "epoch": trust.epoch, "roles": roles})
    if values.get("kind") == "deltaseal/request":
        Request.loads(data)
        return Inspection("request", {"body": values})
    if set(values) == {"algorithm", "public"}:
        return Inspection("public key", _public(PublicKey.from_json(values)))
    raise DocumentTypeError(
        f"{str(path)!r} is JSON, but no trust file, request or public key",
        hint="check that it is the right file",
        path=str(path),
        fields=sorted(values)[:20],
    )


def _public(key: Any) -> dict[str, str]:
    return {"algorithm": key.algorithm, "fingerprint": key.fingerprint.hex()}


def _private_key(path: Path) -> Inspection:
    from deltaseal.trust import PrivateKey

    if b"ENCRYPTED" in read_whole(path).partition(b"\n")[0]:
        return Inspection("private key", {"protected": True})
    return Inspection("private key", {"protected": False, **_public(PrivateKey.load(path).public)})


_READERS: dict[str, Callable[[Path], Inspection]] = {
    "image delta": _image_delta,
    "tree delta": _tree_delta,
    "tree": _tree,
    "bundle": _bundle,
    "signed document": _document,
    "private key": _private_key,
    "JSON": _json,
}
