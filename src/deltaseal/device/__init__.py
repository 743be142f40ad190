"""A device: store, states, journal; update, remove, recover, verify. Format: docs/spec/store.md."""

from deltaseal.device.device import Device, create, open_device
from deltaseal.device.device import open_device as open
from deltaseal.device.store import Identity

__all__ = ["Device", "Identity", "create", "open", "open_device"]
