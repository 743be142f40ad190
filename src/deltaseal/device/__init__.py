"""A device: store, states, journal; update, remove, recover, verify. Format: docs/spec/store.md."""

from deltaseal.device.device import Device, create, open_device
from deltaseal.device.reporting import report_look
from deltaseal.device.store import Identity
from deltaseal.device.units import systemd_units
from deltaseal.device.watch import Look, look, tell, watching_edge

__all__ = [
    "Device",
    "Identity",
    "Look",
    "create",
    "look",
    "open_device",
    "report_look",
    "systemd_units",
    "tell",
    "watching_edge",
]
