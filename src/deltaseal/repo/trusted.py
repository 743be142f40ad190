"""Our own judgement of every role file, after python-tuf's: k of each algorithm, our time, our paths.

docs/spec/repository.md, sections 3, 5 and 6.  What comes in has passed TUF's workflow; nothing of that is
relied on here.  A policy is an object, so that the client can also be held against TUF alone.

Invariants:

1. A chain of roots begins with one that was believed before; each next one is accepted by the rule of the one
   before it and by its own.
2. Every role file that stays in the folder is named by a delegator that stays, and accepted by the rule of
   each delegator that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.metadata import Role as TufRole

from deltaseal.errors import DeltasealError, ExpiredError, SignatureError
from deltaseal.manifest import PERSONALISER, release_role
from deltaseal.manifest.verified import RELEASE
from deltaseal.repo.metadata import EPOCH, delegated_roles, expiry, lacking, read, rule_of
from deltaseal.trust import Role, Trust

__all__ = ["K_OF_EACH", "PLAIN_TUF", "Now", "Policy", "role_files", "trust_of"]

SUFFIX: Final = ".json"
Signed = Root | Timestamp | Snapshot | Targets
_TOP: Final[tuple[tuple[str, type[Any]], ...]] = (
    ("timestamp", Timestamp),
    ("snapshot", Snapshot),
    ("targets", Targets),
)


# Seconds since 1970 that count, asked for once the signatures of these files are good: what a stolen key said
# of the time falls with the key, and files that revoke it must not be measured by its word.
Now = Callable[[Mapping[str, bytes]], int]


class Policy(Protocol):
    """What must hold for a folder of role files to be taken in."""

    def check(self, files: Mapping[str, bytes], roots: Sequence[bytes], now: Now) -> None:
        """Raise if ``files`` (by file name) must not be taken in.

        ``roots`` are the root believed before and each newer one, the last that of ``files``.
        """


class _PlainTuf:
    """What TUF accepts is accepted: for holding the client against TUF's own tests, never for a device."""

    def check(self, files: Mapping[str, bytes], roots: Sequence[bytes], now: Now) -> None:
        """Nothing more is asked."""


class _KOfEach:
    """k of each algorithm for every role file, nothing outside its delegation, nothing expired at our now."""

    def check(self, files: Mapping[str, bytes], roots: Sequence[bytes], now: Now) -> None:
        root = _newest_root(roots)
        current: dict[str, Signed] = {"root": root}
        for name, kind in _TOP:
            if name + SUFFIX in files:
                found = read(files[name + SUFFIX], kind)
                _check_signed(rule_of(root, name, root.roles[name]), found, by="the root")
                current[name] = found.signed
        named = _check_delegated(files, current)
        strange = sorted(role_files(files) - named - {"root", *(name for name, _ in _TOP)})
        if strange:
            raise SignatureError(f"no role that is believed names the role {strange[0]!r}", role=strange[0])
        moment = now(files)
        for name, signed in current.items():
            _check_current(signed, name, moment)


PLAIN_TUF: Final[Policy] = _PlainTuf()
K_OF_EACH: Final[Policy] = _KOfEach()


def role_files(files: Mapping[str, bytes]) -> set[str]:
    """The names of the roles whose files are there."""
    return {name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX) and name != "trust.json"}


def _newest_root(roots: Sequence[bytes]) -> Root:
    before = read(roots[0], Root).signed
    _check_signed(rule_of(before, "root", before.roles["root"]), read(roots[0], Root), by="itself")
    for data in roots[1:]:
        found = read(data, Root)
        if found.signed.version != before.version + 1:
            raise SignatureError(
                f"root {found.signed.version} cannot follow root {before.version}",
                expected=before.version + 1,
                found=found.signed.version,
            )
        for judge, words in ((before, f"root {before.version}"), (found.signed, "itself")):
            _check_signed(rule_of(judge, "root", judge.roles["root"]), found, by=words)
        before = found.signed
    return before


def _check_delegated(files: Mapping[str, bytes], current: dict[str, Signed]) -> set[str]:
    """Judge each delegated role by each that delegates to it; returns the names that were named.

    Bodies that passed are put into ``current``.
    """
    named: set[str] = set()
    for each in delegations(files):
        named.add(each.role)
        if each.role + SUFFIX not in files:
            continue
        found = read(files[each.role + SUFFIX], Targets)
        _check_signed(rule_of(each.targets, each.role, each.tuf_role), found, by=each.delegator)
        current[each.role] = found.signed
        _check_paths(each, found.signed)
    return named


@dataclass(frozen=True, slots=True)
class Delegation:
    """One delegation that a role file states."""

    delegator: str
    role: str
    tuf_role: TufRole
    targets: Targets  # the delegator's
    above: Delegation | None  # by which the delegator was delegated to

    def allows(self, path: str) -> bool:
        """Whether the role may name a path: by this delegation and by each above it."""
        assert self.targets.delegations is not None, "it delegates"
        here = any(role == self.role for role, _ in self.targets.delegations.get_roles_for_target(path))
        return here and (self.above is None or self.above.allows(path))


def delegations(files: Mapping[str, bytes]) -> Iterator[Delegation]:
    """Every delegation that the role files state, from the targets down."""
    todo: list[tuple[str, Delegation | None]] = [("targets", None)]
    seen = {"targets"}
    while todo:
        delegator, above = todo.pop()
        if delegator + SUFFIX not in files:
            continue
        targets = read(files[delegator + SUFFIX], Targets).signed
        for role, tuf_role in delegated_roles(targets).items():
            found = Delegation(delegator, role, tuf_role, targets, above)
            yield found
            if role not in seen:
                seen.add(role)
                todo.append((role, found))


def _check_signed(rule: Role, found: Metadata[Any], *, by: str) -> None:
    missing = lacking(rule, found)
    if missing:
        counts = ", ".join(f"{good} of {needed} {name}" for name, (good, needed) in missing.items())
        raise SignatureError(
            f"not enough good signatures of the role {rule.name!r} by the rule of {by}: {counts}",
            role=rule.name,
            version=found.signed.version,
            needed=dict(rule.thresholds),
        )


def _check_current(signed: Signed, name: str, now: int) -> None:
    ends = expiry(signed)
    if now >= ends:
        raise ExpiredError(
            f"the role file {name!r} has expired",
            hint="the repository was not renewed in time, or somebody holds back what is new",
            role=name,
            expires=ends,
            now=now,
        )


def _check_paths(by: Delegation, found: Targets) -> None:
    for path in found.targets:
        if not by.allows(path):
            raise SignatureError(
                f"the role {by.role!r} names {path!r}, which is outside its delegation",
                role=by.role,
                path=path,
            )


def trust_of(files: Mapping[str, bytes], os: str) -> Trust:
    """Whose documents count after these role files, which have passed, on a device of an os.

    Raises ``SignatureError`` where the targets are not there, or delegate to nobody.
    """
    if "targets.json" not in files:
        raise SignatureError("the repository has no targets metadata that can be believed")
    root, targets = read(files["root.json"], Root).signed, read(files["targets.json"], Targets).signed
    roles, epoch = [], 0
    for name, tuf_role in delegated_roles(targets).items():
        ours = PERSONALISER if name == PERSONALISER else _release_of(name)
        if ours is None:
            continue
        rule = rule_of(targets, name, tuf_role)
        roles.append(Role(ours, rule.keys, rule.thresholds))
        if ours == release_role(os):
            epoch = _epoch(tuf_role)
    try:
        return Trust.of(*roles, expires=min(expiry(root), expiry(targets)), epoch=epoch)
    except DeltasealError as error:
        raise SignatureError(error.sentence) from error


def _release_of(name: str) -> str | None:
    prefix = f"{RELEASE}-"
    return release_role(name.removeprefix(prefix)) if name.startswith(prefix) else None


def _epoch(tuf_role: TufRole) -> int:
    found = tuf_role.unrecognized_fields.get(EPOCH, 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise SignatureError("the epoch of a release role is a number from 0")
    return found
