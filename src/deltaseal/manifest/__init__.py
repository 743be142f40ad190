"""What publishers say and what devices make of it: documents, versions and rules, as values.

Nothing here opens a file or asks for the time.
"""

from deltaseal.manifest.amending import next_catalogue
from deltaseal.manifest.catalogue import WITHDRAWALS, Catalogue, CatalogueBase, Listed, Withdrawal
from deltaseal.manifest.device_manifest import (
    CHANNELS,
    LIFETIME,
    MAX_PHASE,
    DeviceManifest,
    Personal,
    Request,
)
from deltaseal.manifest.phases import in_phase, phase_place
from deltaseal.manifest.policy import Policy, read_policy
from deltaseal.manifest.publishing import (
    LostFix,
    Published,
    check_release,
    lost_fixes,
    make_catalogue,
    make_permit,
    make_withdrawals,
)
from deltaseal.manifest.releases import (
    ACTIVATIONS,
    HARD_CAP,
    ROUTE_BASELINE,
    ROUTE_LETTER,
    ROUTE_WHOLE,
    Attached,
    Base,
    BundleManifest,
    ComponentChange,
    Fix,
    Limits,
    Route,
)
from deltaseal.manifest.routes import Need, need, usable_routes
from deltaseal.manifest.rules import (
    STEPS,
    Applied,
    DeviceFacts,
    Finding,
    Free,
    Offer,
    check_offer,
    effective_now,
    sequence_floor,
    standing_permits,
    withdrawals,
)
from deltaseal.manifest.scenario import Scenario
from deltaseal.manifest.verified import (
    PERSONALISER,
    Verified,
    accept_catalogue,
    release_role,
    verify_base,
    verify_bundle_manifest,
    verify_catalogue,
    verify_device_manifest,
)
from deltaseal.manifest.versions import display, full_name, letter_rank, numeric, os_name
from deltaseal.manifest.vex import vex_document

__all__ = [
    "ACTIVATIONS",
    "CHANNELS",
    "HARD_CAP",
    "LIFETIME",
    "MAX_PHASE",
    "PERSONALISER",
    "ROUTE_BASELINE",
    "ROUTE_LETTER",
    "ROUTE_WHOLE",
    "STEPS",
    "WITHDRAWALS",
    "Applied",
    "Attached",
    "Base",
    "BundleManifest",
    "Catalogue",
    "CatalogueBase",
    "ComponentChange",
    "DeviceFacts",
    "DeviceManifest",
    "Finding",
    "Fix",
    "Free",
    "Limits",
    "Listed",
    "LostFix",
    "Need",
    "Offer",
    "Personal",
    "Policy",
    "Published",
    "Request",
    "Route",
    "Scenario",
    "Verified",
    "Withdrawal",
    "accept_catalogue",
    "check_offer",
    "check_release",
    "display",
    "effective_now",
    "full_name",
    "in_phase",
    "letter_rank",
    "lost_fixes",
    "make_catalogue",
    "make_permit",
    "make_withdrawals",
    "need",
    "next_catalogue",
    "numeric",
    "os_name",
    "phase_place",
    "read_policy",
    "release_role",
    "sequence_floor",
    "standing_permits",
    "usable_routes",
    "verify_base",
    "verify_bundle_manifest",
    "verify_catalogue",
    "verify_device_manifest",
    "vex_document",
    "withdrawals",
]
