"""A device: store, states, journal; update, remove, recover, verify. Format: docs/spec/store.md."""

from deltaseal.device.device import Device, create, open_device
from deltaseal.device.store import Identity

__all__ = ["Device", "Identity", "create", "open_device"]
