"""Which device takes what: every rule between a verified offer and its first byte.

Pure functions of values: no clock, no file, no randomness.  ``check_offer``
goes through a table in the order of R18.  The first finding decides; the
others that could be evaluated are listed for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deltaseal import errors
from deltaseal.errors import DeltasealError
from deltaseal.manifest.catalogue import Catalogue
from deltaseal.manifest.device_manifest import DeviceManifest
from deltaseal.manifest.phases import PHASES, in_phase, phase_place
from deltaseal.manifest.policy import Policy
from deltaseal.manifest.releases import BundleManifest
from deltaseal.manifest.routes import Need
from deltaseal.manifest.versions import full_name, letter_rank, os_name

MINIMUM_BATTERY: Final = 20  # percent, R14


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason for a "no": its code, a sentence, the fact that decided it, and what to do."""

    step: str  # of R18, such as "base build"
    reason: str  # such as "E_BASE"
    sentence: str
    facts: dict[str, Any]
    hint: str = ""

    def error(self) -> DeltasealError:
        """The finding as the exception of its reason code."""
        return _ERRORS[self.reason](self.sentence, hint=self.hint, **self.facts)

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {"step": self.step, "reason": self.reason, "sentence": self.sentence, "facts": self.facts}


@dataclass(frozen=True, slots=True)
class Applied:
    """An improvement that is, or was, on this device's base."""

    id: str
    letter: str
    sequence: int
    bundle: str  # bundle digest, hexadecimal


@dataclass(frozen=True, slots=True)
class Free:
    """What the store's file system has free."""

    bytes: int
    inodes: int


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a device knows of itself when it judges an offer.

    ``None`` means unknown: the rule that needs the fact is then not evaluated.
    """

    now: int  # seconds since 1970, of ``effective_now``
    os: str
    version: str
    build: str  # of the base
    model: str
    device: str  # the device's id
    channel: str
    components: Mapping[str, str]  # digest of each baseline component as recorded
    found: Mapping[str, str] | None = None  # the same as measured just now
    open_nonces: frozenset[str] = frozenset()
    spent_nonces: frozenset[str] = frozenset()
    active: Applied | None = None  # applied now
    minimum: int = 0  # sequence: of the newest catalogue this device ever accepted (R8)
    reached: Applied | None = None  # highest sequence that reached ACTIVE on this base (R8)
    holds: frozenset[str] = frozenset()  # improvement ids (R12)
    removed: frozenset[str] = frozenset()  # improvement ids that a person removed (R10)
    withdrawn: Mapping[str, str] = field(default_factory=dict)  # id: action, as journaled
    policy: Policy = field(default_factory=Policy)
    free: Free | None = None
    battery: int | None = None  # percent; None: unknown, which is allowed


@dataclass(frozen=True, slots=True)
class Offer:
    """A verified bundle manifest with the permission to apply it.

    ``catalogue`` is the newest one accepted, or ``None`` if there never was one.
    """

    bundle: BundleManifest
    bundle_digest: str  # hexadecimal
    permit: DeviceManifest
    catalogue: Catalogue | None = None
    by_person: bool = False  # ``device install``, not ``device update``
    retry: bool = False  # the person said so
    need: Need | None = None  # of the cheapest routes


def check_offer(offer: Offer, facts: DeviceFacts) -> tuple[Finding, ...]:
    """All findings against an offer, in the order of R18; an empty tuple is a yes."""
    return tuple(
        Finding(step, refusal.reason, refusal.sentence, refusal.facts, refusal.hint)
        for step, check in _CHECKS
        for refusal in check(offer, facts)
    )


def effective_now(clock: int, *, build_date: int, catalogues_issued: Iterable[int] = ()) -> int:
    """The time that counts (R9): the clock, but never before the floor.

    The floor is the latest of the program's build date and the issue times of
    the catalogues this device accepted.
    """
    return max(clock, build_date, *catalogues_issued)


def standing_permits(permits: Sequence[DeviceManifest], model: str) -> tuple[DeviceManifest, ...]:
    """The device manifests that count for a device of this model, in the order given.

    Of several static ones for one bundle that list the model, the one issued last takes the place of the
    others: so a pause holds although an older one is still about. Of two issued at once the narrower counts.
    """
    last: dict[str, DeviceManifest] = {}
    for permit in permits:
        if permit.models is not None and model in permit.models:
            before = last.get(permit.bundle)
            if before is None or _newness(permit) > _newness(before):
                last[permit.bundle] = permit
    return tuple(
        permit
        for permit in permits
        if permit.models is None or model not in permit.models or last[permit.bundle] is permit
    )


def _newness(permit: DeviceManifest) -> tuple[int, bool, int]:
    return permit.issued, permit.paused, -permit.phase


def sequence_floor(facts: DeviceFacts, catalogue: Catalogue | None) -> int:
    """The lowest sequence that this device still takes (R8)."""
    minimum = catalogue.minimum_sequence if catalogue else facts.minimum
    reached = _standing(facts, catalogue)
    return max(minimum, reached.sequence if reached else 0)


def withdrawals(facts: DeviceFacts, catalogue: Catalogue | None) -> dict[str, str]:
    """Every withdrawal that this device knows, id to action: journaled ones and the catalogue's.

    Where both name an improvement, the catalogue's action counts: it is the newer word.
    """
    listed = {order.id: order.action for order in catalogue.withdrawals} if catalogue else {}
    return {**facts.withdrawn, **listed}


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: str
    sentence: str
    facts: dict[str, Any]
    hint: str = ""


_Check = Callable[[Offer, DeviceFacts], Iterator[_Refusal]]


def _standing(facts: DeviceFacts, catalogue: Catalogue | None) -> Applied | None:
    # A withdrawn improvement no longer holds the floor up (R8).
    known = withdrawals(facts, catalogue)
    return facts.reached if facts.reached and facts.reached.id not in known else None


def _content(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    # The signatures were checked on each document; here: do the documents speak of one content? (T30, T38)
    permit, bundle = offer.permit, offer.bundle
    if permit.bundle != offer.bundle_digest:
        yield _Refusal(
            "E_DIGEST",
            f"the device manifest permits bundle {permit.bundle[:12]}…, "
            f"this one is {offer.bundle_digest[:12]}…",
            {"expected": permit.bundle, "found": offer.bundle_digest},
        )
    if (permit.id, permit.os) != (bundle.id, bundle.os):
        yield _Refusal(
            "E_SIG",
            f"the device manifest speaks of {permit.id} for {permit.os}, "
            f"the bundle is {bundle.id} for {bundle.os}",
            {"expected": [permit.id, permit.os], "found": [bundle.id, bundle.os]},
        )
    wider = sorted(set(permit.models or ()) - set(bundle.models))
    if wider:
        yield _Refusal(
            "E_SIG",
            f"the device manifest names models that the release does not: {', '.join(wider)}",
            {"signed": list(bundle.models), "added": wider},
        )
    listed = offer.catalogue.improvement(bundle.id) if offer.catalogue else None
    if listed and listed.bundle != offer.bundle_digest:
        yield _Refusal(
            "E_DIGEST",
            f"the catalogue lists {bundle.id} as bundle {listed.bundle[:12]}…, "
            f"this one is {offer.bundle_digest[:12]}…",
            {"expected": listed.bundle, "found": offer.bundle_digest},
        )


def _expiry(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    listed = offer.catalogue.improvement(offer.bundle.id) if offer.catalogue else None
    ends = [("device manifest", offer.permit.expires)]
    ends += [("improvement", listed.expires)] if listed else []
    for what, expires in ends:
        if facts.now >= expires:
            yield _Refusal(
                "E_EXPIRED",
                f"the {what} expired {_ago(facts.now - expires)} ago",
                {"document": what, "expires": expires, "now": facts.now},
            )


def _os(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    if offer.bundle.os != facts.os:
        yield _Refusal(
            "E_BASE",
            f"made for {os_name(offer.bundle.os)}, this device runs {os_name(facts.os)}",
            {"expected": offer.bundle.os, "found": facts.os},
        )


def _base_build(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    bundle = offer.bundle
    if bundle.base_build != facts.build:
        yield _Refusal(
            "E_BASE",
            f"made for {full_name(bundle.os, bundle.version)} build {bundle.base_build}, "
            f"this device is on {full_name(facts.os, facts.version)} build {facts.build}",
            {"expected": bundle.base_build, "found": facts.build},
            hint="wait for the improvement of this device's base",
        )


def _model(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    for what, models in (("improvement", offer.bundle.models), ("device manifest", offer.permit.models)):
        if models is not None and facts.model not in models:
            yield _Refusal(
                "E_MODEL",
                f"{facts.model} is not listed by the {what}; listed: {', '.join(models) or 'nobody'}",
                {"document": what, "expected": list(models), "found": facts.model},
            )


def _device(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    personal = offer.permit.personal
    if personal and personal.device != facts.device:
        yield _Refusal(
            "E_DEVICE",
            f"the device manifest was issued to device {personal.device}, this one is {facts.device}",
            {"expected": personal.device, "found": facts.device},
        )


def _nonce(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    personal = offer.permit.personal
    if personal is None or personal.nonce in facts.open_nonces:
        return
    if personal.nonce in facts.spent_nonces:
        yield _Refusal(
            "E_SEQ",
            "the device manifest was already used: its nonce is spent",
            {"nonce": personal.nonce},
            hint="make a new request on this device and have a manifest issued for it",
        )
    else:
        yield _Refusal(
            "E_DEVICE",
            "the device manifest answers a request that this device did not make: its nonce is unknown",
            {"nonce": personal.nonce},
        )


def _sequence(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    bundle, floor = offer.bundle, sequence_floor(facts, offer.catalogue)
    reached, active = _standing(facts, offer.catalogue), facts.active
    if bundle.sequence < floor:
        yield _Refusal(
            "E_SEQ",
            f"sequence {bundle.sequence} is below {floor}, the lowest that this device takes",
            {"floor": floor, "found": bundle.sequence},
        )
    elif reached and bundle.sequence == reached.sequence and offer.bundle_digest != reached.bundle:
        yield _Refusal(
            "E_SEQ",
            f"sequence {bundle.sequence} was already {reached.id}, of other bytes",
            {"expected": reached.bundle, "found": offer.bundle_digest},
        )
    if active and letter_rank(bundle.letter) < letter_rank(active.letter):
        yield _Refusal(
            "E_SEQ",
            f"letter {bundle.letter} is lower than {active.letter}, which is applied",
            {"applied": active.letter, "found": bundle.letter},
        )


def _withdrawn(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    known, bundle = withdrawals(facts, offer.catalogue), offer.bundle
    if bundle.id in known:
        yield _Refusal(
            "E_WITHDRAWN",
            f"{bundle.id} was withdrawn by its vendor",
            {"id": bundle.id, "action": known[bundle.id]},
        )
    active = facts.active
    if active and active.id != bundle.id and known.get(active.id) == "pin":
        yield _Refusal(
            "E_WITHDRAWN",
            f"the vendor pinned {active.id} on this device: nothing else is offered",
            {"id": active.id, "action": "pin"},
        )


def _held(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    id = offer.bundle.id
    if id in facts.holds and not (offer.by_person and offer.retry):
        yield _Refusal(
            "E_HELD",
            f"{id} failed on this device and was rolled back; it is not tried again by itself",
            {"id": id, "why": "rolled back"},
        )
    if id in facts.removed and not offer.by_person and not _deadline_passed(facts):
        yield _Refusal(
            "E_HELD",
            f"{id} was removed by a person; it is not installed again by itself",
            {"id": id, "why": "removed"},
            hint="a person can install it again with `deltaseal device install ID`",
        )


def _policy_and_phase(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    permit, policy = offer.permit, facts.policy
    if permit.paused:
        yield _Refusal(
            "E_POLICY",
            f"the vendor paused {permit.id}: nothing new is started",
            {"paused": True},
            hint="wait until the vendor goes on with it",
        )
    if policy.personalised_only and permit.personal is None:
        yield _Refusal(
            "E_POLICY",
            "this device takes personalised device manifests only, this one is for whole models",
            {"personalised_only": True},
            hint="make a request on this device and have a manifest issued for it",
        )
    if permit.channel == "seed" and facts.channel != "seed":
        yield _Refusal(
            "E_POLICY",
            f"offered on channel {permit.channel}, this device is on {facts.channel}",
            {"expected": permit.channel, "found": facts.channel},
            hint=f"wait until it is offered on channel {facts.channel}",
        )
    if not offer.by_person:
        yield from _automatic(offer, facts)


def _automatic(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    # Only what nobody asked for waits for wishes and phases (R17).
    permit, updates = offer.permit, facts.policy.updates
    if updates == "off" or (updates == "notify" and not _deadline_passed(facts)):
        yield _Refusal(
            "E_POLICY",
            f"the policy of this device is updates = {updates}: a person installs",
            {"updates": updates},
            hint="a person can install it with `deltaseal device install ID`",
        )
    if not in_phase(permit.id, facts.device, permit.phase):
        place = phase_place(permit.id, facts.device)
        yield _Refusal(
            "E_POLICY",
            f"the rollout has reached {permit.phase} of {PHASES}; this device's place is {place}",
            {"phase": permit.phase, "place": place},
            hint="wait: the phase grows, and this device's place stays",
        )


def _base_digests(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    for name, change in sorted(offer.bundle.components.items()):
        recorded = facts.components.get(name)
        if recorded is None:
            yield _Refusal(
                "E_BASE",
                f"changes component {name}, which this device's base does not declare improvable",
                {"component": name, "declared": sorted(facts.components)},
            )
            continue
        found = facts.found.get(name) if facts.found is not None else None
        if found is not None and found != recorded:
            yield _Refusal(
                "E_DAMAGED",
                f"the baseline of {name} is no longer what this device recorded",
                {"component": name, "expected": recorded, "found": found},
            )
        if recorded != change.base_tree:
            yield _Refusal(
                "E_BASE",
                f"made for other bytes of {name}: expected {change.base_tree[:12]}…, "
                f"this device has {recorded[:12]}…",
                {"component": name, "expected": change.base_tree, "found": recorded},
            )


def _space(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    if offer.need is None or facts.free is None:
        return
    pairs = (
        ("bytes", offer.need.bytes, facts.free.bytes),
        ("inodes", offer.need.inodes, facts.free.inodes),
    )
    for what, needed, free in pairs:
        if free < needed:
            yield _Refusal(
                "E_SPACE",
                f"needs {needed:,} free {what}, there are {free:,}",
                {"what": what, "needed": needed, "free": free},
            )


def _battery(offer: Offer, facts: DeviceFacts) -> Iterator[_Refusal]:
    if facts.battery is not None and facts.battery < MINIMUM_BATTERY:
        yield _Refusal(
            "E_BATTERY",
            f"the battery is at {facts.battery} %, at least {MINIMUM_BATTERY} % is needed",
            {"needed": MINIMUM_BATTERY, "found": facts.battery},
        )


def _deadline_passed(facts: DeviceFacts) -> bool:
    return facts.policy.deadline is not None and facts.now >= facts.policy.deadline


def _ago(seconds: int) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


# The order of R18. Envelope limits, signatures and types were judged when each document was verified.
_CHECKS: Final[tuple[tuple[str, _Check], ...]] = (
    ("content", _content),
    ("expiry", _expiry),
    ("os", _os),
    ("base build", _base_build),
    ("model", _model),
    ("device", _device),
    ("nonce", _nonce),
    ("sequence", _sequence),
    ("withdrawn", _withdrawn),
    ("held", _held),
    ("policy and phase", _policy_and_phase),
    ("base digests", _base_digests),
    ("space", _space),
    ("battery", _battery),
)

# The names of the steps, in their order: a later one means that an offer got further.
STEPS: Final = tuple(step for step, _ in _CHECKS)

_ERRORS: Final[dict[str, type[DeltasealError]]] = {
    kind.reason: kind
    for kind in (
        errors.SignatureError,
        errors.DigestError,
        errors.ExpiredError,
        errors.BaseMismatchError,
        errors.ModelError,
        errors.DeviceError,
        errors.SequenceError,
        errors.WithdrawnError,
        errors.HeldError,
        errors.PolicyError,
        errors.DamagedError,
        errors.SpaceError,
        errors.BatteryError,
    )
}
