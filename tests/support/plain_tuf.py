"""A repository of nothing but TUF, in memory, and a client of it: for the names of TUF's conformance suite.

Bodies are changed in place; :meth:`PlainRepository.publish` gives the roles that it names the next version,
signs them and serves them.  Keys are made from their number, so that a table can speak of key 3.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from securesystemslib.signer import CryptoSigner
from support.repository import Mirror
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from deltaseal.repo.client import Wanted, refresh
from deltaseal.repo.trusted import PLAIN_TUF

TOP = ("root", "targets", "snapshot", "timestamp")
LIMIT = 1 << 20
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
PAST = LATER - timedelta(days=40)


@functools.cache
def signer(number: int) -> CryptoSigner:
    """Key ``number`` of Ed25519."""
    seed = hashlib.sha256(b"plain tuf %d" % number).digest()
    return CryptoSigner(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


@functools.cache
def signer_of(keytype: str) -> CryptoSigner:
    """A key of another type."""
    if keytype == "ecdsa":
        return CryptoSigner(ec.generate_private_key(ec.SECP256R1()))
    if keytype == "rsa":
        return CryptoSigner(rsa.generate_private_key(65_537, 2_048))
    return signer(77)


class PlainRepository:
    """Four roles with one key each, everything at version 1, and consistent snapshots."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.root = Root(expires=LATER, consistent_snapshot=True)
        self.targets = Targets(expires=LATER)
        self.snapshot = Snapshot(expires=LATER)
        self.timestamp = Timestamp(expires=LATER)
        self.bodies: dict[str, Any] = {name: getattr(self, name) for name in TOP}
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.with_hashes = False
        for number, name in enumerate(TOP):
            self.give(name, [signer(100 + number)])
        for name in TOP:
            self.bodies[name].version = 0
        self.publish(*TOP)

    def give(self, role: str, keys: Iterable[CryptoSigner], *, needed: int | None = None) -> None:
        """Let a top-level role have these keys and no others, and all of them sign."""
        self.root.roles[role].keyids.clear()
        self.signers[role] = list(keys)
        for key in self.signers[role]:
            self.root.add_key(key.public_key, role)
        if needed is not None:
            self.root.roles[role].threshold = needed

    def add_key(self, role: str, key: CryptoSigner) -> None:
        """One more key of a top-level role, that signs."""
        self.root.add_key(key.public_key, role)
        self.signers[role].append(key)

    def delegate(
        self, by: str, role: str, paths: list[str], *, terminating: bool = False, key: int | None = None
    ) -> Targets:
        """Let a role delegate to another; returns the body of the latter."""
        delegator: Targets = self.bodies[by]
        if delegator.delegations is None:
            delegator.delegations = Delegations({}, {})
        assert delegator.delegations.roles is not None
        theirs = signer(len(self.signers) + 200 if key is None else key)
        if role in self.signers and key is None:
            theirs = self.signers[role][0]
        delegator.delegations.keys[theirs.public_key.keyid] = theirs.public_key
        made = DelegatedRole(role, [theirs.public_key.keyid], 1, terminating, paths)
        delegator.delegations.roles[role] = made
        self.signers.setdefault(role, [theirs])
        body: Targets = self.bodies.setdefault(role, Targets(expires=LATER))
        if f"{role}.json" not in self.snapshot.meta:
            body.version = 0
        return body

    def artifact(
        self, path: str, data: bytes, *, role: str = "targets", hashes: list[str] | None = None
    ) -> None:
        """Let a role name these bytes, and serve them."""
        info = TargetFile.from_data(path, data, hashes)
        self.bodies[role].targets[path] = info
        self.serve(path, info, data)

    def serve(self, path: str, info: TargetFile, data: bytes) -> None:
        """Serve these bytes under each name that the entry allows."""
        folder, _, name = path.rpartition("/")
        for digest in info.hashes.values():
            self.files["/".join(part for part in ("targets", folder, f"{digest}.{name}") if part)] = data

    def publish(self, *roles: str) -> None:
        """The next version of each of these roles, in this order."""
        for role in roles:
            self.bodies[role].version += 1
            self.put(role)

    def put(self, role: str, *, at: int | None = None) -> None:
        """Sign and serve a role's body with the version that it has, under that of ``at``."""
        body = self.bodies[role]
        if role == "timestamp":
            body.snapshot_meta = self._meta("snapshot", body.snapshot_meta)
        metadata: Metadata[Any] = Metadata(body)
        for key in self.signers[role]:
            metadata.sign(key, append=True)
        self.files[place_of(role, body.version if at is None else at)] = metadata.to_bytes()
        if role not in ("root", "snapshot", "timestamp"):
            self.snapshot.meta[f"{role}.json"] = self._meta(role, None)

    def _meta(self, role: str, had: MetaFile | None) -> MetaFile:
        version = self.bodies[role].version
        if had is not None and had.version > version:
            version = had.version
        data = self.files.get(place_of(role, version))
        if self.with_hashes and data is not None:
            return MetaFile.from_data(version, data, ["sha256"])
        return MetaFile(version)

    def bend(self, role: str, change: Any) -> None:
        """Change the bytes of a role file that are served, signatures and all, as JSON values."""
        import json

        place = place_of(role, self.bodies[role].version)
        values = json.loads(self.files[place])
        change(values)
        self.files[place] = json.dumps(values).encode()


def place_of(role: str, version: int) -> str:
    """Where a role file is served."""
    return "metadata/timestamp.json" if role == "timestamp" else f"metadata/{version}.{quote(role, '')}.json"


@dataclass
class PlainClient:
    """Whoever believes the first root, and keeps what the client of this package hands out."""

    repo: PlainRepository
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.files = self.files or {"root.json": self.repo.files[place_of("root", 1)]}
        self.mirror = Mirror(self.repo.files)

    def refresh(self, *targets: str) -> str:
        """Bring it up to date; returns ``ok`` or the code of the refusal."""
        self.mirror.asked.clear()
        wanted = [Wanted(path, f"target {path}", LIMIT) for path in targets]
        now = int(time.time())
        done = refresh(self.mirror, self.files, wanted=wanted, now=lambda files: now, policy=PLAIN_TUF)
        self.files = dict(done.files)
        return done.failure.reason if done.failure else "ok"

    def version(self, role: str) -> int | None:
        """The version of a role file that is believed."""
        data = self.files.get(f"{quote(role, '')}.json")
        return Metadata.from_bytes(data).signed.version if data else None

    def versions(self) -> dict[str, int | None]:
        """Those of the top-level roles that are believed."""
        return {role: self.version(role) for role in TOP if self.version(role) is not None}

    def target(self, path: str) -> bytes | None:
        """What it has of a target."""
        return self.files.get(f"target {path}")

    @property
    def asked(self) -> list[str]:
        """The role files that were asked for in the last refresh, such as ``2.root`` and ``timestamp``."""
        names = (name for name in self.mirror.asked if name.startswith("metadata/"))
        return [name.removeprefix("metadata/").removesuffix(".json") for name in names]
