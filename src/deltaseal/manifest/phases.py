"""Which devices a phase includes: a stable hash, so that raising the share only adds devices."""

from __future__ import annotations

import hashlib

__all__ = ["PHASES", "in_phase", "phase_place"]

PHASES = 10_000  # a phase is a share of devices in ten-thousandths


def in_phase(id: str, device: str, phase: int) -> bool:
    """Whether a device is in at a phase of 0 to 10,000 (product definition, section 7).

    The first 8 bytes, big-endian, of SHA-256(``deltaseal-phase/1|<id>|<device>``),
    modulo 10,000, must be less than the phase.
    """
    return phase_place(id, device) < phase


def phase_place(id: str, device: str) -> int:
    """A device's place in the order in which one improvement reaches devices, 0 to 9,999."""
    digest = hashlib.sha256(f"deltaseal-phase/1|{id}|{device}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PHASES
