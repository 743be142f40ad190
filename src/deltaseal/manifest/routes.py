"""Which ways lead to a result from what a device has, and what they need (R4, R14, R15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deltaseal.manifest.policy import Policy
from deltaseal.manifest.releases import (
    ROUTE_BASELINE,
    ROUTE_LETTER,
    ROUTE_WHOLE,
    BundleManifest,
    ComponentChange,
    Route,
)

MARGIN_PERCENT: Final = 10  # R14, on bytes and on inodes


@dataclass(frozen=True, slots=True)
class Need:
    """What an installation needs free before its first byte."""

    bytes: int
    inodes: int


def usable_routes(
    change: ComponentChange,
    *,
    active_tree: str | None,
    policy: Policy,
    metered: bool | None,
) -> tuple[Route, ...]:
    """The routes that a device may try for one component, cheapest in bytes first (R15).

    ``active_tree`` is the digest of the component in the applied improvement, or
    ``None`` on the baseline.  Whole files go out where the policy does not allow
    their bytes; a network of unknown cost counts as metered.  Ties go to the
    route that the manifest lists first.
    """
    whole = policy.full_download == "always" or (policy.full_download == "unmetered" and metered is False)
    usable = {
        ROUTE_BASELINE: True,
        ROUTE_LETTER: False,
        ROUTE_WHOLE: whole,
    }
    fitting = [
        route
        for route in change.routes
        if usable[route.kind] or (route.from_tree is not None and route.from_tree == active_tree)
    ]
    return tuple(sorted(fitting, key=lambda route: route.size))


def need(bundle: BundleManifest, chosen: Mapping[str, Route], *, reflinks: bool) -> Need:
    """The space for one chosen route per component, with the margin of R14.

    Payloads and new files always count; unchanged files count where the file
    system cannot share their blocks (``reflinks`` false).  Inodes: every entry of
    each result, and one file per payload.
    """
    size = sum(_bytes(bundle.components[name], route, reflinks) for name, route in chosen.items())
    inodes = sum(bundle.components[name].result_entries + 1 for name in chosen)
    return Need(bytes=_with_margin(size), inodes=_with_margin(inodes))


def _bytes(change: ComponentChange, route: Route, reflinks: bool) -> int:
    copied = 0 if reflinks else max(0, change.result_bytes - route.written_bytes)
    return route.size + route.written_bytes + copied


def _with_margin(number: int) -> int:
    return -(-number * (100 + MARGIN_PERCENT) // 100)
