"""deltaseal: small signed binary improvements for system software: made, proved, applied, removed.

The verbs of the command line, as functions and classes::

    deltaseal.diff(old, new, delta)      # two files, or two directories
    deltaseal.apply(old, delta, new)
    deltaseal.inspect(file)
    deltaseal.verify(file, trust=trust, now=now)

and what a build script, a publisher and a device need: ``make_base``, ``build``, ``Bundle``, ``Trust``,
``PrivateKey``, ``Scenario``, ``Device``.  Every refusal is a ``DeltasealError``.  Names are loaded when
they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltaseal._lazy import names_from
from deltaseal._version import __version__

if TYPE_CHECKING:
    from deltaseal.bundle import (
        BuiltScenario,
        Bundle,
        ComponentTrees,
        Making,
        Release,
        build_scenario,
        make_base,
        make_signers,
        open_bundle,
        save_keys,
    )
    from deltaseal.bundle.build import build
    from deltaseal.device import Device
    from deltaseal.device.device import create as create_device
    from deltaseal.edge import Edge, system_edge
    from deltaseal.errors import DeltasealError
    from deltaseal.manifest import Scenario
    from deltaseal.repo import DirectorySource, Publisher, Repository
    from deltaseal.storage import write_output
    from deltaseal.trust import PrivateKey, Role, Trust, UnverifiedDocument
    from deltaseal.verbs.deltas import apply, diff
    from deltaseal.verbs.inspection import inspect
    from deltaseal.verbs.proof import verify

__all__ = [
    "BuiltScenario",
    "Bundle",
    "ComponentTrees",
    "DeltasealError",
    "Device",
    "DirectorySource",
    "Edge",
    "Making",
    "PrivateKey",
    "Publisher",
    "Release",
    "Repository",
    "Role",
    "Scenario",
    "Trust",
    "UnverifiedDocument",
    "__version__",
    "apply",
    "build",
    "build_scenario",
    "create_device",
    "diff",
    "inspect",
    "make_base",
    "make_signers",
    "open_bundle",
    "save_keys",
    "system_edge",
    "verify",
    "write_output",
]

# Where each name lives: its module, and its name there.
_HOMES = {
    "BuiltScenario": ("deltaseal.bundle", "BuiltScenario"),
    "Bundle": ("deltaseal.bundle", "Bundle"),
    "ComponentTrees": ("deltaseal.bundle", "ComponentTrees"),
    "DeltasealError": ("deltaseal.errors", "DeltasealError"),
    "Device": ("deltaseal.device", "Device"),
    "DirectorySource": ("deltaseal.repo", "DirectorySource"),
    "Edge": ("deltaseal.edge", "Edge"),
    "Making": ("deltaseal.bundle", "Making"),
    "PrivateKey": ("deltaseal.trust", "PrivateKey"),
    "Publisher": ("deltaseal.repo", "Publisher"),
    "Release": ("deltaseal.bundle", "Release"),
    "Repository": ("deltaseal.repo", "Repository"),
    "Role": ("deltaseal.trust", "Role"),
    "Scenario": ("deltaseal.manifest", "Scenario"),
    "Trust": ("deltaseal.trust", "Trust"),
    "UnverifiedDocument": ("deltaseal.trust", "UnverifiedDocument"),
    "apply": ("deltaseal.verbs.deltas", "apply"),
    "build": ("deltaseal.bundle", "build"),
    "build_scenario": ("deltaseal.bundle", "build_scenario"),
    "create_device": ("deltaseal.device", "create"),
    "diff": ("deltaseal.verbs.deltas", "diff"),
    "inspect": ("deltaseal.verbs.inspection", "inspect"),
    "make_base": ("deltaseal.bundle", "make_base"),
    "make_signers": ("deltaseal.bundle", "make_signers"),
    "open_bundle": ("deltaseal.bundle", "open_bundle"),
    "save_keys": ("deltaseal.bundle", "save_keys"),
    "system_edge": ("deltaseal.edge", "system_edge"),
    "verify": ("deltaseal.verbs.proof", "verify"),
    "write_output": ("deltaseal.storage", "write_output"),
}


__getattr__ = names_from(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
