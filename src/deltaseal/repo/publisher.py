"""The publisher: a repository is made, added to, signed by many hands, published, renewed, pruned.

The interface, for whoever builds on it (a rollout, a build system)::

    publisher = Publisher(open_folder(place), now=now)
    publisher.add(source)                      # a base, bundle, catalogue or device manifest; verified first
    publisher.offer(id, channel="stable", phase=500, paused=False, signers=personaliser)
    publisher.catalogue("macos")               # what is in force; make the next one and `add` it to withdraw
    publisher.amend("macos", minimum=5, signers=release)     # or let it be made: a minimum, other ends
    publisher.permits()                        # every static device manifest in force: the state of a rollout
    publisher.rotate(Role(...))                # other keys, or another rule, for a role
    publisher.sign(signers)                    # adds the signatures that are wanted and can be given
    publisher.publish(signers)                 # signs, renews, writes; raises while signatures are missing

Nothing that a client sees changes before ``publish``.  What is added waits under ``staged/`` and can be
signed in any order, by people who each hold some keys.  Where a permission of one id is offered again for a
model, it takes the place of the former one; device manifests are renewed by ``publish`` with the channel,
phase and pause that they have, until the catalogue withdraws or drops their improvement.

Invariants:

1. Bundles and targets are durable before a role file names them, role files before the snapshot, the snapshot
   before the timestamp: a reader at any moment sees the old repository or the new one.
2. What is published has passed the policy that devices judge by, on the bytes that are written.
3. Whoever writes holds the folder's lock and has read what is there under it: of two publishers the second is
   told ``LockedError``, and nothing that the first did is lost.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from tuf.api.metadata import Delegations, Metadata, Root, Targets

from deltaseal.bundle import is_bundle, open_bundle
from deltaseal.errors import DocumentTypeError, SequenceError, UsageError
from deltaseal.manifest import (
    PERSONALISER,
    Base,
    BundleManifest,
    Catalogue,
    DeviceManifest,
    make_permit,
    next_catalogue,
    release_role,
    verify_base,
    verify_catalogue,
    verify_device_manifest,
)
from deltaseal.repo import layout, parts
from deltaseal.repo.folders import Folder, pieces_of
from deltaseal.repo.metadata import dump, lacking, moment
from deltaseal.repo.permits import StagedPermit, permits_in, target_of
from deltaseal.repo.published import Published, catalogue_in
from deltaseal.repo.state import State
from deltaseal.storage import ByteSource, BytesSource, chunks
from deltaseal.trust import MAX_DOCUMENT, Algorithm, Role, Signer, Trust, UnverifiedDocument, sign

__all__ = ["Lifetimes", "Publisher", "Report", "Waiting"]

P = ParamSpec("P")
R = TypeVar("R")

DAY: Final = 86_400
_PERMITS: Final = f"{layout.STAGED}/permits"
_HEAD_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """For how many seconds each kind of role file lives; it is signed anew when half of that has passed."""

    root: int = 365 * DAY
    targets: int = 365 * DAY
    release: int = 180 * DAY
    personaliser: int = 7 * DAY
    snapshot: int = 14 * DAY
    timestamp: int = DAY

    def of(self, role: str) -> int:
        """The life of a role file, by its role."""
        kind = role.partition("-")[0]
        return int(getattr(self, "personaliser" if kind == layout.BIN_PREFIX else kind))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A role file that is being prepared: which signatures it still needs, by whose rule."""

    role: str
    version: int
    missing: Mapping[str, Mapping[Algorithm, tuple[int, int]]]  # by the words for a rule: (good, needed)


@dataclass(frozen=True, slots=True)
class Report:
    """What one publishing wrote."""

    snapshot: int  # versions
    timestamp: int
    roles: tuple[str, ...]  # role files that are new
    offers: int  # static device manifests' targets in force
    files: int
    metadata_bytes: int  # of the role files that are new


def _alone(method: Callable[Concatenate[Publisher, P], R]) -> Callable[Concatenate[Publisher, P], R]:
    """Let a method that writes run only while no other publisher is at work on the repository."""

    @functools.wraps(method)
    def locked(self: Publisher, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.folder.locked():
            return method(self, *args, **kwargs)

    return locked


def _permit_name(permit: DeviceManifest) -> str:
    # By what it is for: a later one for the same takes its place.
    models = hashlib.sha256("|".join(permit.models or ()).encode()).hexdigest()[:16]
    return f"{_PERMITS}/{permit.id}.{models}.manifest"


@dataclass(slots=True)
class Publisher:
    """A repository in a folder, at a time; it keeps nothing in memory but what it was made with."""

    folder: Folder
    now: int  # seconds since 1970
    lifetimes: Lifetimes = field(default_factory=Lifetimes)

    @classmethod
    def create(
        cls, folder: Folder, roles: Sequence[Role], *, now: int, lifetimes: Lifetimes | None = None
    ) -> Publisher:
        """Prepare the first root, targets, and an empty file for each release role.

        ``roles`` are root, targets, snapshot, timestamp, personaliser, and ``release:<os>`` for each system.
        Raises ``UsageError`` if one is missing or a repository is there already.
        """
        publisher = cls(folder, now, lifetimes or Lifetimes())
        by_name = {role.name: role for role in roles}
        missing = [name for name in (*parts.TOP, PERSONALISER) if name not in by_name]
        releases = [role for role in roles if role.name.startswith("release:")]
        if missing or not releases:
            wanted = ", ".join(missing) or "a release role, such as release:macos"
            raise UsageError(f"a repository also needs {wanted}", missing=missing)
        with folder.locked():
            if publisher.is_there:
                raise UsageError(f"{folder.name!r} holds a repository already", path=folder.name)
            publisher.stage("root", parts.new_root([by_name[name] for name in parts.TOP]))
            publisher.stage("targets", Targets(delegations=Delegations({}, {})))
            for role in (*releases, by_name[PERSONALISER]):
                publisher.rotate(role)
        return publisher

    # ---- what is there ---------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether there is a repository, published or prepared."""
        return bool(self.folder.names(layout.METADATA) or self.folder.names(layout.STAGED))

    def state(self) -> State:
        """All of it, read once."""
        return State(self.folder)

    def published(self) -> Published | None:
        """The state in force, or ``None`` before the first publishing."""
        return self.state().published

    def catalogue(self, os: str) -> Catalogue | None:
        """The catalogue of an os, the one that is being prepared if there is one."""
        body = self.state().bodies.get(layout.role_name(release_role(os)))
        found = catalogue_in(self.folder, body) if isinstance(body, Targets) else None
        return found[1] if found else None

    def permits(self) -> Iterator[DeviceManifest]:
        """Every static device manifest in force, each once."""
        published, seen = self.published(), set()
        for path, info in published.offers().items() if published else ():
            for document, permit in permits_in(self.folder, path, info):
                if document.digest not in seen:
                    seen.add(document.digest)
                    yield permit

    def offered(self, id: str, *, os: str, build: str, model: str) -> DeviceManifest | None:
        """The static device manifest in force of an improvement for one base build and model."""
        published = self.published()
        path = layout.offers_path(os, build, model)
        info = published.offers().get(path) if published else None
        found = permits_in(self.folder, path, info) if info else []
        return next((permit for _, permit in found if permit.id == id), None)

    def trust(self) -> Trust:
        """Whose documents count, after the root and targets that are being prepared or in force."""
        return self.state().trust

    def manifest(self, digest: str) -> BundleManifest:
        """The verified manifest of a bundle that was added. Raises ``UsageError`` for one that was not."""
        return self.state().manifest(digest, now=self.now)

    def waiting(self) -> list[Waiting]:
        """The role files that are being prepared, and what is missing of each."""
        found, state = [], self.state()
        for role, metadata in sorted(state.staged.items()):
            missing = {
                words: short
                for words, rule in state.rules(role).items()
                if (short := lacking(rule, metadata))
            }
            found.append(Waiting(role, metadata.signed.version, missing))
        return found

    # ---- what is to come -------------------------------------------------------------------------

    @_alone
    def add(self, source: ByteSource) -> str:
        """Take in a base, bundle, catalogue or device manifest that is signed; returns what it is, in words.

        Raises what verifying raises; ``SequenceError`` for a catalogue whose serial does not rise,
        ``UsageError`` for a device manifest whose bundle is not there, or one for a single device.
        """
        head = source.read_at(0, min(source.size(), _HEAD_BYTES))
        if is_bundle(head):
            return self._add_bundle(source)
        document = UnverifiedDocument.loads(source.read_at(0, min(source.size(), MAX_DOCUMENT)))
        adders = {
            Base.TYPE: self._add_base,
            Catalogue.TYPE: self._add_catalogue,
            DeviceManifest.TYPE: self._add_permit,
        }
        if document.type not in adders:
            raise DocumentTypeError(f"a repository holds no {document.type}", found=document.type)
        return adders[document.type](document)

    def _add_bundle(self, source: ByteSource) -> str:
        bundle = open_bundle(source).verify(self.state().trust, now=self.now)
        bundle.check_payloads()
        self.folder.put({layout.bundle_name(bundle.digest): lambda: chunks(source)})
        return f"bundle {bundle.manifest.id}"

    def _add_base(self, document: UnverifiedDocument) -> str:
        base = verify_base(document, self.state().trust, now=self.now).value
        self._name(base.os, layout.base_path(base.os, base.build), document)
        return f"base {base.os} {base.build}"

    def _add_catalogue(self, document: UnverifiedDocument) -> str:
        new = verify_catalogue(document, self.state().trust, now=self.now).value
        before = self.catalogue(new.os)
        rises = before is None or new.serial > before.serial
        if not rises and not self._is_new_epoch(new.os):
            raise SequenceError(
                f"the catalogue of {new.os} has serial {new.serial}, not above the one that is there",
                hint="give it a higher serial",
                found=new.serial,
            )
        self._name(new.os, layout.catalogue_path(new.os), document)
        return f"catalogue {new.serial} of {new.os}"

    def _add_permit(self, document: UnverifiedDocument) -> str:
        permit = verify_device_manifest(document, self.state().trust, now=self.now).value
        if permit.models is None:
            raise UsageError("a device manifest for one device is handed to it, not published", id=permit.id)
        self.manifest(permit.bundle)
        self.folder.put({_permit_name(permit): pieces_of(document.to_bytes())})
        return f"device manifest of {permit.id} for {', '.join(permit.models)}"

    @_alone
    def offer(
        self,
        id: str,
        *,
        signers: Sequence[Signer],
        models: Sequence[str] | None = None,
        channel: str = "stable",
        phase: int = 10_000,
        paused: bool = False,
    ) -> list[DeviceManifest]:
        """Permit an improvement of a catalogue: a device manifest for each model, by default of its bundle.

        Raises ``UsageError`` for an id that no catalogue lists, or for what widens the bundle.
        """
        listed = next((entry for one in self._catalogues().values() if (entry := one.improvement(id))), None)
        if listed is None:
            raise UsageError(f"no catalogue lists {id}", hint="add its catalogue first", id=id)
        manifest = self.manifest(listed.bundle)
        rule = self.state().trust.roles[PERSONALISER]
        chosen = parts.signers_for(rule, signers)
        made, files = [], {}
        for model in manifest.models if models is None else models:
            permit = make_permit(
                manifest,
                listed.bundle,
                issued=self.now,
                expires=self.now + self.lifetimes.personaliser,
                models=[model],
                channel=channel,
                phase=phase,
                paused=paused,
            )
            document = sign(DeviceManifest.TYPE, permit.dumps(), chosen)
            files[_permit_name(permit)] = pieces_of(document.to_bytes())
            made.append(permit)
        self.folder.put(files)
        return made

    @_alone
    def amend(
        self,
        os: str,
        *,
        signers: Sequence[Signer],
        minimum: int | None = None,
        ends: Mapping[str, int] | None = None,
        days: int = 30,
    ) -> Catalogue:
        """Make, sign and add the next catalogue of an os: another minimum sequence, other ends (R8, R9).

        ``ends`` maps ids to seconds since 1970; the catalogue itself lives for ``days``. ``UsageError`` where
        there is no catalogue, or it lists no such id; ``SignatureError`` where these keys are not enough.
        """
        before = self.catalogue(os)
        if before is None:
            known = ", ".join(self._catalogues()) or "none yet: add one first"
            raise UsageError(
                f"{self.folder.name!r} has no catalogue of {os}", hint=f"catalogues: {known}", os=os
            )
        made = next_catalogue(
            before, issued=self.now, expires=self.now + days * DAY, minimum=minimum, ends=ends
        )
        rule = self.trust().roles[release_role(os)]
        document = sign(Catalogue.TYPE, made.dumps(), parts.signers_for(rule, signers))
        self.add(BytesSource(document.to_bytes()))
        self.sign(signers)
        return made

    @_alone
    def rotate(self, role: Role) -> None:
        """Give a role these keys and this rule; a release role of a new os is added.

        The keys of a release role cannot change without a new epoch: it rises by one.
        """
        if role.name in parts.TOP:
            root = self._editable("root")
            parts.set_root_rule(root, role)
            self.stage("root", root)
            if role.name == "targets" and self.published() is not None:
                self.stage("targets", self._editable("targets"))
            return
        targets = self._editable("targets")
        parts.set_delegation(targets, role)
        self.stage("targets", targets)
        name = layout.role_name(role.name)
        if role.name.startswith("release:"):
            self.stage(name, self._editable(name) if name in self.state().bodies else Targets())

    def _name(self, os: str, path: str, document: UnverifiedDocument) -> None:
        """Put a target in its place and let the release role's next file name it."""
        data = document.to_bytes()
        info = target_of(path, data)
        self.folder.put({layout.target_name(path, info.hashes["sha256"]): pieces_of(data)})
        role = layout.role_name(release_role(os))
        body = self._editable(role)
        body.targets[path] = info
        self.stage(role, body)

    def _editable(self, role: str) -> Any:
        """The body that is being prepared of a role file, or the next version of the one in force."""
        state = self.state()
        if role in state.staged:
            return state.staged[role].signed
        published = state.published
        if published is None or role not in published.files:
            raise UsageError(f"the repository has no role {role}", role=role)
        body = published.root if role == "root" else published.targets(role)
        body.version += 1
        return body

    def stage(self, role: str, body: Root | Targets) -> None:
        """Keep a body to be signed; signatures that it had are void."""
        body.expires = moment(self.now + self.lifetimes.of(role))
        self._keep(role, Metadata(body))

    def _keep(self, role: str, metadata: Metadata[Any]) -> None:
        data = dump(metadata)
        self.folder.put({f"{layout.STAGED}/{role}.json": pieces_of(data)})

    def _is_new_epoch(self, os: str) -> bool:
        state, role = self.state(), layout.role_name(release_role(os))
        if state.published is None:
            return False
        before = parts.epoch_in(state.published.targets("targets"), role)
        targets = state.bodies["targets"]
        return isinstance(targets, Targets) and parts.epoch_in(targets, role) > before

    def _catalogues(self) -> dict[str, Catalogue]:
        found = {}
        for role in self.state().bodies:
            if role.startswith("release-"):
                os = role.removeprefix("release-")
                if (one := self.catalogue(os)) is not None:
                    found[os] = one
        return found

    def staged_permits(self) -> list[StagedPermit]:
        """The device manifests that wait to be published."""
        found, state = [], self.state()
        builds: dict[str, str] = {}  # by bundle
        for name in self.folder.names(_PERMITS):
            document = UnverifiedDocument.loads(self.folder.read(name))
            permit = DeviceManifest.loads(document.body)
            if permit.bundle not in builds:
                builds[permit.bundle] = state.manifest(permit.bundle, now=self.now).base_build
            found.append(StagedPermit(document, permit, builds[permit.bundle]))
        return found

    # ---- signing and publishing ------------------------------------------------------------------

    @_alone
    def sign(self, signers: Sequence[Signer]) -> list[str]:
        """Add to what is being prepared each signature that a rule still wants; returns the roles signed."""
        from deltaseal.repo.publishing import resigned

        done = []
        for role in resigned(self, signers):
            done.append(role)
        state = self.state()
        for role, metadata in sorted(state.staged.items()):
            rules = [*state.rules(role).values(), *state.former_rules(role)]
            if parts.sign_by(metadata, rules, signers):
                self._keep(role, metadata)
                done.append(role)
        return sorted(set(done))

    @_alone
    def publish(self, signers: Sequence[Signer] = ()) -> Report:
        """Sign what these signers can, renew what is old, and let clients see it.

        Raises ``SignatureError`` naming what is still missing; what was signed is kept then.
        """
        from deltaseal.repo.publishing import publish

        return publish(self, signers)
