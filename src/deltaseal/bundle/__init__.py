"""One file with one improvement: a signed manifest and its payloads. Build, sign, read, verify."""

from deltaseal.bundle.build import ComponentTrees, Earlier, Making, Release, build, make_base, take_signatures
from deltaseal.bundle.checked import CheckedSource
from deltaseal.bundle.layout import MAGIC, Bundle, bare_size_allowed, is_bundle
from deltaseal.bundle.reader import UnverifiedBundle, VerifiedBundle, open_bundle, verify_file
from deltaseal.bundle.scenario_bundles import (
    BuiltScenario,
    ScenarioSigners,
    build_scenario,
    make_signers,
    save_keys,
)

__all__ = [
    "MAGIC",
    "BuiltScenario",
    "Bundle",
    "CheckedSource",
    "ComponentTrees",
    "Earlier",
    "Making",
    "Release",
    "ScenarioSigners",
    "UnverifiedBundle",
    "VerifiedBundle",
    "bare_size_allowed",
    "build",
    "build_scenario",
    "is_bundle",
    "make_base",
    "make_signers",
    "open_bundle",
    "save_keys",
    "take_signatures",
    "verify_file",
]
