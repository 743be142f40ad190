"""Verifying a file: a bundle or document by who signed it, a delta by what it makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaseal.errors import DocumentTypeError, ExpiredError, UsageError
from deltaseal.verbs.kinds import PathLike, Progress, kind_of, read_whole

__all__ = ["Proof", "verify"]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was verified: the kind of file, in words what is now known, and who signed."""

    kind: str
    known: tuple[str, ...]
    role: str = ""
    signed_by: tuple[str, ...] = ()  # algorithm and fingerprint of each key whose signature is good

    def to_json(self) -> dict[str, Any]:
        """The proof as JSON values."""
        return {
            "kind": self.kind,
            "known": list(self.known),
            "role": self.role,
            "signed_by": list(self.signed_by),
        }


def verify(
    file: PathLike,
    *,
    trust: PathLike | None = None,
    old: PathLike | None = None,
    new: PathLike | None = None,
    now: int | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Prove a file: a bundle or signed document by the trust file ``trust``, a delta by ``old`` and ``new``.

    ``now``, in seconds since 1970, is needed with ``trust``. Raises the refusal of the first thing that is
    wrong, and ``UsageError`` where what the proof needs was not given.
    """
    path = Path(file)
    kind = kind_of(path)
    if kind in ("image delta", "tree delta"):
        from deltaseal.verbs.deltas import prove

        return Proof(kind, prove(path, old=old, new=new, progress=progress))
    if old is not None or new is not None:
        raise UsageError(f"{str(path)!r} is a {kind}: --old and --new are for deltas", kind=kind)
    if kind not in ("bundle", "signed document"):
        raise DocumentTypeError(
            f"{str(path)!r} is a {kind}: there is no signature to verify",
            hint="name a bundle, a signed document or a delta",
            kind=kind,
        )
    if trust is None or now is None:
        raise UsageError(
            f"{str(path)!r} is a {kind}: whose signatures count must be said",
            hint="give a trust file with --trust",
            kind=kind,
        )
    return _bundle(path, Path(trust), now) if kind == "bundle" else _document(path, Path(trust), now)


def _bundle(path: Path, trust: Path, now: int) -> Proof:
    from deltaseal.bundle import verify_file
    from deltaseal.manifest import full_name

    bundle = verify_file(path, _trust(trust), now=now)
    manifest = bundle.manifest
    name = full_name(manifest.os, manifest.version, manifest.letter)
    known = (
        f"{manifest.id}: {name} for base {manifest.base_build}, sequence {manifest.sequence}",
        f"bundle digest {bundle.digest}",
        f"every payload has its digest ({len(bundle.places)} of {len(bundle.places)})",
    )
    return Proof("bundle", known, *_signers(bundle.verified.document))


def _document(path: Path, trust: Path, now: int) -> Proof:
    from deltaseal import manifest
    from deltaseal.trust import UnverifiedDocument

    document = UnverifiedDocument.loads(read_whole(path))
    verifiers: dict[str, Any] = {
        manifest.Base.TYPE: manifest.verify_base,
        manifest.BundleManifest.TYPE: manifest.verify_bundle_manifest,
        manifest.Catalogue.TYPE: manifest.verify_catalogue,
        manifest.DeviceManifest.TYPE: manifest.verify_device_manifest,
    }
    if document.type not in verifiers:
        raise DocumentTypeError(
            f"{str(path)!r} is of type {document.type}, which is none that can be verified",
            expected=sorted(verifiers),
            found=document.type,
        )
    verified = verifiers[document.type](document, _trust(trust), now=now)
    expires = getattr(verified.value, "expires", None)
    if expires is not None and now >= expires:
        raise ExpiredError(
            f"{str(path)!r} is signed as it must be, but it has expired", expires=expires, now=now
        )
    kind = document.type.rpartition("/")[2].replace("-", " ")
    return Proof(kind, (f"document digest {verified.digest}",), *_signers(verified.document))


def _signers(document: Any) -> tuple[str, tuple[str, ...]]:
    return document.role, tuple(f"{key.algorithm} {key.fingerprint.hex()}" for key in document.signed_by)


def _trust(path: Path) -> Any:
    """The trust file at ``path``. Raises as ``Trust.load``."""
    from deltaseal.trust import Trust

    return Trust.load(read_whole(path))
