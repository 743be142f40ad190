"""Bundles whose payloads are any bytes: enough for everything that only reads the file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from support.publisher import CHANGE, MANIFEST, signers

from deltaseal.bundle import Bundle
from deltaseal.manifest import ROUTE_BASELINE, ROUTE_WHOLE, BundleManifest, Route
from deltaseal.storage import BytesSource
from deltaseal.trust import UnverifiedDocument


def plain_manifest(payloads: Sequence[bytes], *, manifest: BundleManifest = MANIFEST) -> BundleManifest:
    """A manifest in which component number n has payload n as its route."""
    components = {}
    for number, payload in enumerate(payloads):
        kinds = (ROUTE_BASELINE, ROUTE_WHOLE) if number == 0 else (ROUTE_BASELINE,)
        routes = tuple(Route(kind, hashlib.sha256(payload).hexdigest(), len(payload), 1, 1) for kind in kinds)
        components[f"part{number}"] = replace(CHANGE, routes=routes)
    return replace(manifest, components=components)


def plain_bundle(
    payloads: Sequence[bytes], *, manifest: BundleManifest = MANIFEST, sign: bool = True
) -> Bundle:
    """A bundle with these payloads, signed by the release role unless told not to."""
    body = plain_manifest(payloads, manifest=manifest)
    first: dict[str, bytes] = {}
    for payload in payloads:
        first.setdefault(hashlib.sha256(payload).hexdigest(), payload)
    bundle = Bundle(
        UnverifiedDocument(BundleManifest.TYPE, body.dumps()),
        tuple(BytesSource(first[digest]) for digest, _ in body.payloads()),
    )
    return bundle.signed(signers().signers["release:macos"]) if sign else bundle
