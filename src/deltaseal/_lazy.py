"""Faces whose names are loaded when they are first used, so that a command pays only for what it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_from(package: str, homes: Mapping[str, tuple[str, str]]) -> Callable[[str], Any]:
    """A module's ``__getattr__``: ``homes`` gives each name's module, and its name there."""

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, there = homes[name]
        value = getattr(import_module(module), there)
        setattr(sys.modules[package], name, value)
        return value

    return load


def homes_in(package: str, modules: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, str]]:
    """Homes of names that are called the same in the package's own modules."""
    return {name: (f"{package}.{module}", name) for module, names in modules.items() for name in names}
