"""What an improvement fixes, as OpenVEX says it: the statement that goes into its bundle.

OpenVEX 0.2.0 (openvex.dev/ns/v0.2.0). One document for one bundle, made from the bundle manifest alone, so
that whoever builds again gets the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from deltaseal.manifest.releases import BundleManifest

__all__ = ["vex_document"]

_CONTEXT: Final = "https://openvex.dev/ns/v0.2.0"


def vex_document(manifest: BundleManifest) -> bytes:
    """The statement of a bundle manifest, whatever its own ``vex`` says; canonical JSON and a line feed.

    Each hole is ``fixed`` in the product that the improvement makes of its base: a package URL of type
    ``generic`` with base build and letter, as the exports of a device name it.
    """
    of = replace(manifest, vex=None)
    product = f"pkg:generic/{of.os}@{of.version}?build={of.base_build}&letter={of.letter}"
    statements = [_statement(product, fix.cve, fix.component, fix.impact) for fix in of.cves]
    document = {
        "@context": _CONTEXT,
        "@id": f"urn:deltaseal:vex:{of.id}",
        "author": f"the release role of {of.os}",
        "statements": statements,
        "timestamp": datetime.fromtimestamp(of.issued, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": 1,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _statement(product: str, cve: str, component: str, impact: str) -> dict[str, Any]:
    named = {"@id": product, "subcomponents": [{"@id": f"{product}#{component}"}]}
    statement: dict[str, Any] = {"products": [named], "status": "fixed", "vulnerability": {"name": cve}}
    return {**statement, "status_notes": impact} if impact else statement
