"""Somebody else's applier, in any language, put to the same test (docs/spec/applier-protocol.md)."""

from deltaseal.lab.torture.foreign.applier import torture_applier

__all__ = ["torture_applier"]
