"""How many enrolled devices a move of a rollout concerns, by the very rule that devices go by."""

from __future__ import annotations

from dataclasses import dataclass

from deltaseal.fleet.store import Fleet
from deltaseal.manifest import BundleManifest, DeviceManifest, in_phase

__all__ = ["Impact", "impact_of"]


@dataclass(frozen=True, slots=True)
class Impact:
    """Counts of enrolled devices."""

    fitting: int  # on the base, of a listed model
    before: int  # in by the device manifest in force
    after: int  # in by the one that is planned
    active: int  # that have the improvement
    waiting: int  # in, and without it

    def to_json(self) -> dict[str, int]:
        """The counts as JSON values."""
        return {
            "fitting": self.fitting,
            "in_before": self.before,
            "in_after": self.after,
            "active": self.active,
            "waiting": self.waiting,
        }


def impact_of(
    fleet: Fleet, manifest: BundleManifest, *, before: DeviceManifest | None, after: DeviceManifest | None
) -> Impact:
    """Count them. ``before`` or ``after`` is ``None`` where nothing is offered."""
    counts = dict.fromkeys(("fitting", "before", "after", "active", "waiting"), 0)
    query = "SELECT device, model, channel, active FROM devices WHERE os = ? AND build = ?"
    for device, model, channel, active in fleet.rows(query, (manifest.os, manifest.base_build)):
        if model not in manifest.models:
            continue
        has = active == manifest.id
        inside = _is_in(before, manifest.id, device, model, channel)
        counts["fitting"] += 1
        counts["before"] += inside
        counts["after"] += _is_in(after, manifest.id, device, model, channel)
        counts["active"] += has
        counts["waiting"] += inside and not has
    return Impact(**counts)


def _is_in(permit: DeviceManifest | None, id: str, device: str, model: str, channel: str) -> bool:
    if permit is None or permit.id != id or model not in (permit.models or ()):
        return False
    return (permit.channel == "stable" or channel == "seed") and in_phase(id, device, permit.phase)
