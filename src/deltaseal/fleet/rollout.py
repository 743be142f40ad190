"""Moving a rollout: what each move will do, and then doing it, signed, whole or not at all.

A move is planned from what is in force, shown to a person, and carried out only if nobody moved anything
meanwhile: the state that was shown is compared again under the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from deltaseal.bundle import open_bundle
from deltaseal.errors import SequenceError, SignatureError, UsageError, WithdrawnError
from deltaseal.fleet.places import Place, Writes, newest
from deltaseal.manifest import (
    LIFETIME,
    PERSONALISER,
    WITHDRAWALS,
    BundleManifest,
    Catalogue,
    DeviceManifest,
    Listed,
    Published,
    make_permit,
    next_catalogue,
    release_role,
)
from deltaseal.storage import ByteSource
from deltaseal.trust import Signer, Trust, UnverifiedDocument, sign

__all__ = ["Plan", "Rollout", "Standing", "carry_out", "standing"]

DAY: Final = 86_400
CATALOGUE_DAYS: Final = 30
IMPROVEMENT_DAYS: Final = 250


@dataclass(frozen=True, slots=True)
class Standing:
    """One improvement as it stands."""

    os: str
    version: str
    listed: Listed
    permit: DeviceManifest | None  # the static one that was issued last
    action: str  # of its withdrawal; empty: none

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values."""
        permit = self.permit
        return {
            "id": self.listed.id,
            "os": self.os,
            "version": self.version,
            "base_build": self.listed.base_build,
            "letter": self.listed.letter,
            "cves": list(self.listed.cves),
            "withdrawn": self.action or None,
            "channel": permit.channel if permit else None,
            "phase": permit.phase if permit else None,
            "paused": permit.paused if permit else None,
            "permit_expires": permit.expires if permit else None,
            "expires": self.listed.expires,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """A move that was not made yet."""

    move: str  # "set", "pause", "resume", "withdraw", "reissue"
    before: Standing  # of a reissue: the letter before it
    state: str  # of the place when it was planned
    manifest: BundleManifest
    catalogue: Catalogue | None = None
    permit: DeviceManifest | None = None
    bundle: ByteSource | None = None
    reopens: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Whose keys must sign."""
        release = (release_role(self.manifest.os),) if self.catalogue else ()
        return (*release, *((PERSONALISER,) if self.permit else ()))


def standing(place: Place) -> list[Standing]:
    """Every improvement that a catalogue lists, as it stands."""
    permits = place.permits()
    return [
        _standing(catalogue, listed, permits)
        for _, catalogue in sorted(place.catalogues().items())
        for listed in catalogue.improvements
    ]


@dataclass(frozen=True, slots=True)
class Rollout:
    """The moves, planned at a time on what is in force."""

    place: Place
    now: int  # seconds since 1970

    def set(self, id: str, *, phase: int, channel: str | None = None, days: int = 7) -> Plan:
        """Offer an improvement to so many of 10,000 devices; to as many as before renews its permission."""
        before = self._offered(id)
        old = before.permit
        manifest = self.place.manifest(before.listed.bundle)
        permit = make_permit(
            manifest,
            before.listed.bundle,
            issued=self._issue(id),
            expires=self._issue(id) + min(days * DAY, LIFETIME),
            models=self._models(id, manifest),
            channel=channel or (old.channel if old else "stable"),
            phase=phase,
            paused=old.paused if old else False,
        )
        return Plan("set", before, self.place.state(), manifest, permit=permit)

    def pause(self, id: str) -> Plan:
        """Let no device begin with it any more."""
        return self._paused(id, "pause", paused=True)

    def resume(self, id: str) -> Plan:
        """Go on where it was paused."""
        return self._paused(id, "resume", paused=False)

    def withdraw(self, id: str, action: str) -> Plan:
        """Take an improvement back, by order of the vendor: ``keep``, ``remove`` or ``pin``."""
        if action not in WITHDRAWALS:
            raise UsageError(f"{action!r} is no withdrawal", hint=f"choose one of {', '.join(WITHDRAWALS)}")
        before = self._standing(id)
        if before.action == action:
            raise WithdrawnError(
                f"{id} is withdrawn already, with {action}", hint="nothing is left to do", id=id
            )
        catalogue = next_catalogue(
            self.place.catalogues()[before.os],
            issued=self.now,
            expires=self.now + CATALOGUE_DAYS * DAY,
            withdraw={id: action},
        )
        order = catalogue.withdrawal(id)
        return Plan(
            "withdraw",
            before,
            self.place.state(),
            self.place.manifest(before.listed.bundle),
            catalogue=catalogue,
            reopens=order.reopens if order else (),
        )

    def reissue(
        self, bundle: ByteSource, *, phase: int, channel: str = "stable", days: int = IMPROVEMENT_DAYS
    ) -> Plan:
        """Bring a higher letter for a base that has one already, at its own phase."""
        verified = open_bundle(bundle).verify(self.place.trust(), now=self.now)
        manifest = verified.manifest
        earlier = [
            one
            for one in standing(self.place)
            if (one.os, one.listed.base_build) == (manifest.os, manifest.base_build)
        ]
        if not earlier:
            raise UsageError(
                f"nothing was released for {manifest.os} build {manifest.base_build}: this is no reissue",
                hint="list it in a catalogue with `deltaseal manifest catalogue` first",
            )
        before = self.place.catalogues()[manifest.os]
        listed = before.improvement(manifest.id)
        begun = listed is not None and listed.bundle == verified.digest and self._is_new(manifest.id)
        catalogue = None  # a reissue that was cut off after its catalogue goes on with its permission
        if not begun:
            catalogue = next_catalogue(
                before,
                issued=self.now,
                expires=self.now + CATALOGUE_DAYS * DAY,
                add=[Published(manifest, verified.digest, self.now + days * DAY)],
            )
        issued = self._issue(manifest.id)
        permit = make_permit(
            manifest, verified.digest, issued=issued, channel=channel, phase=phase, expires=issued + LIFETIME
        )
        others = [one for one in earlier if one.listed.id != manifest.id]
        last = max(others or earlier, key=lambda one: one.listed.sequence)
        return Plan("reissue", last, self.place.state(), manifest, catalogue, permit, bundle)

    def _paused(self, id: str, move: str, *, paused: bool) -> Plan:
        before = self._offered(id)
        old = before.permit
        if old is None:
            hint = f"offer it with `deltaseal rollout set {id}`"
            raise UsageError(f"{id} is not offered", hint=hint, id=id)
        if old.paused == paused:
            words = "paused already" if paused else "not paused"
            raise UsageError(f"{id} is {words}", hint="`deltaseal rollout status` says how it stands", id=id)
        plan = self.set(id, phase=old.phase, channel=old.channel)
        assert plan.permit is not None, "set makes one"
        return replace(plan, move=move, permit=replace(plan.permit, paused=paused))

    def _is_new(self, id: str) -> bool:
        """Whether nothing ever offered it, nor took it back."""
        return newest(self.place.permits(), id) is None and not self._standing(id).action

    def _issue(self, id: str) -> int:
        """A time after every permission of it: devices go by the one issued last."""
        old = newest(self.place.permits(), id)
        return max(self.now, old.issued + 1 if old else 0)

    def _models(self, id: str, manifest: BundleManifest) -> list[str]:
        """The models that it is offered to now; where it is not, all of its bundle."""
        offered = {model for one in self.place.permits() if one.id == id for model in one.models or ()}
        return [model for model in manifest.models if not offered or model in offered]

    def _standing(self, id: str) -> Standing:
        found = next((one for one in standing(self.place) if one.listed.id == id), None)
        if found is None:
            known = ", ".join(one.listed.id for one in standing(self.place)) or "none"
            where = repr(self.place.name)
            raise UsageError(f"no catalogue in {where} lists {id}", hint=f"listed: {known}", id=id)
        return found

    def _offered(self, id: str) -> Standing:
        found = self._standing(id)
        if found.action:
            raise WithdrawnError(
                f"{id} was withdrawn with {found.action}: it is offered no more",
                hint="reissue a higher letter",
                id=id,
            )
        return found


def carry_out(plan: Plan, place: Place, signers: Sequence[Signer]) -> None:
    """Sign a plan and bring it into force.

    ``SignatureError`` where these keys are not enough, ``LockedError`` where another is at work,
    ``SequenceError`` where somebody moved something since it was planned. Nothing has changed then.
    """
    trust = place.trust()
    catalogue = permit = None
    if plan.catalogue is not None:
        role, body = release_role(plan.manifest.os), plan.catalogue.dumps()
        catalogue = _signed(Catalogue.TYPE, body, trust, role, signers, plan.catalogue.issued)
    if plan.permit is not None:
        issued = plan.permit.issued
        permit = _signed(DeviceManifest.TYPE, plan.permit.dumps(), trust, PERSONALISER, signers, issued)
    with place.locked():
        if place.state() != plan.state:
            raise SequenceError(
                f"somebody moved something in {place.name!r} since this was asked",
                hint="look with `deltaseal rollout status`, and decide anew",
            )
        place.write(Writes(catalogue, permit, plan.bundle), signers)


def _signed(
    type: str, body: bytes, trust: Trust, role: str, signers: Sequence[Signer], now: int
) -> UnverifiedDocument:
    """Sign with those of the signers that the role has, and verify it as a device will."""
    rule = trust.roles.get(role)
    keys = rule.keys if rule else ()
    document = sign(type, body, [signer for signer in signers if signer.public in keys])
    try:
        trust.verify(document, role=role, type=type, now=now)
    except SignatureError as error:
        raise SignatureError(
            f"these keys are not enough for the role {role}: {error.sentence}",
            hint="name more key files with --key, or commands with --signer",
            role=role,
        ) from error
    return document


def _standing(catalogue: Catalogue, listed: Listed, permits: Sequence[DeviceManifest]) -> Standing:
    version = next(base.version for base in catalogue.bases if base.build == listed.base_build)
    order = catalogue.withdrawal(listed.id)
    return Standing(catalogue.os, version, listed, newest(permits, listed.id), order.action if order else "")
