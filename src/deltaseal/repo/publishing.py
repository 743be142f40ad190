"""One publishing: renewed offers, a snapshot, a timestamp, written in an order that readers bear.

docs/spec/repository.md, section 4; the invariants are those of :mod:`deltaseal.repo.publisher`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

from deltaseal.bundle import open_bundle
from deltaseal.errors import DeltasealError, SignatureError
from deltaseal.manifest import PERSONALISER, Catalogue, DeviceManifest, release_role
from deltaseal.repo import layout, parts
from deltaseal.repo.folders import Pieces, pieces_of
from deltaseal.repo.metadata import dump, expiry, is_satisfied, lacking, moment, read
from deltaseal.repo.permits import Offers, bits_of, bodies_of, spread
from deltaseal.repo.published import catalogue_in
from deltaseal.repo.publisher import Publisher, Report
from deltaseal.repo.state import State
from deltaseal.repo.trusted import K_OF_EACH, trust_of
from deltaseal.storage import MissingError
from deltaseal.trust import Role, Signer, Trust, UnverifiedDocument, sign

__all__ = ["publish", "resigned"]


@dataclass(slots=True)
class _Work:
    """What one publishing has come to so far."""

    publisher: Publisher
    signers: Sequence[Signer]
    state: State  # before it
    files: dict[str, bytes]  # by role: the new state
    fresh: list[str] = field(default_factory=list)  # roles whose files are new
    payloads: dict[str, Pieces] = field(default_factory=dict)
    is_smooth: bool = True  # devices that go by the former rules accept the new files too

    def rule(self, role: str) -> Role:
        return self.state.rules(role)["its rule"]

    def is_due(self, role: str) -> bool:
        """Whether a role file has to be signed anew: half of its life is over, or its rule is another."""
        if role not in self.files:
            return True
        found: Metadata[Any] = (
            read(self.files[role], Snapshot) if role == "snapshot" else read(self.files[role], Targets)
        )
        left = expiry(found.signed) - self.publisher.now
        half = self.publisher.lifetimes.of(role) / 2
        has_other_rule = bool(
            self.state.former_rules(role)
        )  # else it was judged by this one when it was made
        return left < half or (has_other_rule and not is_satisfied(self.rule(role), found))

    def make(self, role: str, body: Any, *, until: int = 0) -> None:
        """Sign a role file of an online role; it lives as long as such files do, or until a time before."""
        former = read(self.files[role], type(body)).signed.version if role in self.files else 0
        body.version = former + 1
        body.expires = moment(until or self.publisher.now + self.publisher.lifetimes.of(role))
        metadata: Metadata[Any] = Metadata(body)
        rule, nice = self.rule(role), self.state.former_rules(role)
        parts.sign_by(metadata, [rule, *nice], self.signers)
        self.keep(role, metadata, [rule], nice)

    def keep(self, role: str, metadata: Metadata[Any], rules: Sequence[Role], nice: Sequence[Role]) -> None:
        """Take a role file into the new state. Raises ``SignatureError`` for one that lacks signatures."""
        for rule in rules:
            if short := lacking(rule, metadata):
                counts = ", ".join(f"{good} of {needed} {name}" for name, (good, needed) in short.items())
                raise SignatureError(
                    f"the role {role} is not signed by enough keys yet: {counts}",
                    hint="give more of its keys with --key or --signer; what was signed is kept",
                    role=role,
                )
        self.is_smooth = self.is_smooth and all(is_satisfied(rule, metadata) for rule in nice)
        self.files[role] = dump(metadata)
        self.fresh.append(role)


def publish(publisher: Publisher, signers: Sequence[Signer]) -> Report:
    """Sign, renew, write. Raises ``SignatureError`` while signatures are missing."""
    publisher.sign(signers)
    state = publisher.state()
    work = _Work(publisher, signers, state, dict(state.published.files) if state.published else {})
    for role in sorted(state.staged, key=lambda name: (name != "root", name != "targets", name)):
        work.keep(role, state.staged[role], list(state.rules(role).values()), state.former_rules(role))
    offers = _offers(work)
    _snapshot(work)
    _judge(work)
    return _write(work, offers)


# ---- offers --------------------------------------------------------------------------------------


def _offers(work: _Work) -> Offers:
    """The static device manifests of the new state, and the role files that name them."""
    publisher, before = work.publisher, work.state.published
    holders = before.holders_of_offers if before else []
    stale = frozenset(role for role in holders if work.is_due(role))
    trust = _trust(work)
    catalogues = _catalogues(work)
    has_other_rule = bool(work.state.former_rules(PERSONALISER))
    offers = bodies_of(
        publisher.folder,
        before,
        publisher.staged_permits(),
        catalogues,
        stale=stale,
        changed=_changed(work, catalogues),
        now=publisher.now,
        is_good=lambda document: not has_other_rule or _verifies(trust, document),
        renew=lambda permit: _signed(work, permit),
    )
    bits = layout.bin_bits(len(offers.entries), least=bits_of(before))
    # Only where all its offers were looked at does a file live longer than before: none outlives its offers.
    ends = {role: expiry(before.targets(role)) for role in holders if role not in stale} if before else {}
    soonest = min(ends.values(), default=0)
    for role, body in spread(offers.entries, work.rule(PERSONALISER), bits=bits).items():
        if role in stale or role not in work.files or _differs(work, role, body):
            work.make(role, body, until=0 if role in stale else ends.get(role, soonest))
    work.payloads.update(offers.payloads())
    return offers


def _changed(work: _Work, catalogues: Mapping[str, Catalogue]) -> frozenset[tuple[str, str]]:
    """The bases, by os and build, of which a catalogue says something else than before, or is over."""
    found = set()
    for os, catalogue in catalogues.items():
        role = layout.role_name(release_role(os))
        if role not in work.fresh:
            continue
        before = work.state.published
        body = before.targets(role) if before and role in before.files else None
        had = catalogue_in(work.publisher.folder, body) if body else None
        former, listed = _listed(had[1]) if had else {}, _listed(catalogue)
        for id, (build, (ends, _)) in (former | listed).items():
            if former.get(id) != listed.get(id) or work.publisher.now >= ends:
                found.add((os, build))
    return frozenset(found)


def _listed(catalogue: Catalogue) -> dict[str, tuple[str, tuple[int, bool]]]:
    """Of each improvement its base build, when it ends, and whether it was withdrawn."""
    return {
        one.id: (one.base_build, (one.expires, catalogue.withdrawal(one.id) is not None))
        for one in catalogue.improvements
    }


def _signed(work: _Work, permit: DeviceManifest) -> UnverifiedDocument:
    chosen = parts.signers_for(work.rule(PERSONALISER), work.signers)
    return sign(DeviceManifest.TYPE, permit.dumps(), chosen)


def _differs(work: _Work, role: str, body: Targets) -> bool:
    found = read(work.files[role], Targets).signed
    return found.targets != body.targets or found.delegations != body.delegations


def _verifies(trust: Trust, document: UnverifiedDocument) -> bool:
    try:
        trust.verify(document, role=PERSONALISER, type=DeviceManifest.TYPE, now=0)
    except DeltasealError:
        return False
    return True


def _trust(work: _Work) -> Trust:
    return trust_of({f"{role}.json": work.files[role] for role in ("root", "targets")}, "")


def _catalogues(work: _Work) -> dict[str, Catalogue]:
    found = {}
    for role, data in work.files.items():
        if role.startswith("release-"):
            listed = catalogue_in(work.publisher.folder, read(data, Targets).signed)
            if listed is not None:
                found[listed[1].os] = listed[1]
    return found


# ---- snapshot and timestamp ------------------------------------------------------------------------


def _snapshot(work: _Work) -> None:
    meta = {
        f"{role}.json": _meta(role, data)
        for role, data in work.files.items()
        if role not in ("root", "snapshot", "timestamp")
    }
    former = read(work.files["snapshot"], Snapshot).signed.meta if "snapshot" in work.files else {}
    meta = {**former, **meta}  # TUF: what a snapshot once named, it names for ever
    if meta != former or work.is_due("snapshot"):
        work.make("snapshot", Snapshot(meta=meta))
    data = work.files["snapshot"]
    version = read(data, Snapshot).signed.version
    work.make("timestamp", Timestamp(snapshot_meta=MetaFile.from_data(version, data, ["sha256"])))


def _meta(role: str, data: bytes) -> MetaFile:
    version = read(data, Targets).signed.version
    # Of bins there are many, and all are one online role's: their versions are enough, and small.
    if role.startswith(f"{layout.BIN_PREFIX}-"):
        return MetaFile(version)
    return MetaFile.from_data(version, data, ["sha256"])


def _judge(work: _Work) -> None:
    """Hold the new state against the policy of devices, and every document in it against the new trust."""
    before = work.state.published
    roots = [before.files["root"]] if before else []
    roots += [work.files["root"]] if "root" in work.fresh or not roots else []
    K_OF_EACH.check(
        {f"{role}.json": data for role, data in work.files.items()}, roots, lambda _: work.publisher.now
    )
    for os, catalogue in _catalogues(work).items():
        if layout.role_name(release_role(os)) in work.fresh:
            for entry in catalogue.improvements:
                if catalogue.withdrawal(entry.id) is None:
                    work.state.manifest(entry.bundle, now=work.publisher.now)


# ---- writing ---------------------------------------------------------------------------------------


def _write(work: _Work, offers: Offers) -> Report:
    folder = work.publisher.folder
    folder.put(work.payloads)
    last = ["root", "timestamp"] if not work.is_smooth else ["timestamp", "root"]
    names = {role: layout.metadata_name(role, _version(work.files[role])) for role in work.fresh}
    early = {role: name for role, name in names.items() if role not in last and role != "snapshot"}
    for roles in (list(early), ["snapshot"], *([role] for role in last)):
        files = {names[role]: pieces_of(work.files[role]) for role in roles if role in names}
        if files:
            folder.put(files)
    folder.remove(folder.names(layout.STAGED))
    return Report(
        snapshot=read(work.files["snapshot"], Snapshot).signed.version,
        timestamp=read(work.files["timestamp"], Timestamp).signed.version,
        roles=tuple(work.fresh),
        offers=len(offers.entries),
        files=len(work.payloads) + len(work.fresh),
        metadata_bytes=sum(len(work.files[role]) for role in work.fresh),
    )


def _version(data: bytes) -> int:
    return int(Metadata.from_bytes(data).signed.version)


# ---- after a rotation of release keys ---------------------------------------------------------------


def resigned(publisher: Publisher, signers: Sequence[Signer]) -> Iterator[str]:
    """Sign anew what the old keys of a release role had signed: bases, catalogue, bundles.

    Signing changes no digest (bundle.md, section 2), so device manifests and catalogues stay as they are.
    """
    state = publisher.state()
    trust = state.trust
    for role, metadata in sorted(state.staged.items()):
        os = role.removeprefix("release-")
        rule = trust.roles.get(release_role(os)) if role.startswith("release-") else None
        if rule is not None and _resign(publisher, os, metadata.signed, rule, signers):
            yield role


def _resign(publisher: Publisher, os: str, body: Targets, rule: Role, signers: Sequence[Signer]) -> bool:
    from deltaseal.repo.permits import target_of

    changed = False
    for path, info in sorted(body.targets.items()):
        document = UnverifiedDocument.loads(
            publisher.folder.read(layout.target_name(path, info.hashes["sha256"]))
        )
        chosen = parts.signers_for(rule, signers, have=rule.signed_by(document))
        if not chosen:
            continue
        data = document.add_signatures(chosen).to_bytes()
        fresh = target_of(path, data)
        publisher.folder.put({layout.target_name(path, fresh.hashes["sha256"]): pieces_of(data)})
        body.targets[path] = fresh
        changed = True
    found = catalogue_in(publisher.folder, body)
    for entry in found[1].improvements if found else ():
        _resign_bundle(publisher, entry.bundle, rule, signers)
    if changed:
        publisher.stage(f"release-{os}", body)
    return changed


def _resign_bundle(publisher: Publisher, digest: str, rule: Role, signers: Sequence[Signer]) -> None:
    name = layout.bundle_name(digest)
    try:
        opened = open_bundle(publisher.folder.open(name))
    except MissingError:
        return  # what publishes says so
    chosen = parts.signers_for(rule, signers, have=rule.signed_by(opened.document))
    if chosen:
        signed = opened.editable().signed(chosen)
        publisher.folder.put({name: signed.chunks})
