"""Small changes to role files: rules set and read, signatures added as a rule wants them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tuf.api.metadata import DelegatedRole, Metadata, Root, Targets
from tuf.api.metadata import Role as TufRole

from deltaseal.errors import UsageError
from deltaseal.manifest import PERSONALISER
from deltaseal.repo import layout
from deltaseal.repo.metadata import (
    EPOCH,
    add_signatures,
    delegated_roles,
    good_keys,
    rule_of,
    rule_values,
    tuf_key,
)
from deltaseal.trust import Role, Signer

__all__ = [
    "TOP",
    "epoch_in",
    "new_root",
    "rule_in",
    "set_delegation",
    "set_root_rule",
    "sign_by",
    "signers_for",
]

TOP: Final = ("root", "targets", "snapshot", "timestamp")


def new_root(roles: Sequence[Role]) -> Root:
    """A first root with these rules."""
    root = Root(consistent_snapshot=True)
    for role in roles:
        set_root_rule(root, role)
    return root


def set_root_rule(root: Root, role: Role) -> None:
    """Give a top-level role these keys and this rule; keys that no role has any more go."""
    keys = {key.keyid: key for key in map(tuf_key, role.keys)}
    root.keys.update(keys)
    root.roles[role.name] = TufRole(list(keys), sum(role.thresholds.values()), rule_values(role))
    used = {keyid for each in root.roles.values() for keyid in each.keyids}
    root.keys = {keyid: key for keyid, key in root.keys.items() if keyid in used}


def set_delegation(targets: Targets, role: Role) -> None:
    """Give a delegated role these keys and this rule; the epoch of a release role rises by one."""
    assert targets.delegations is not None and targets.delegations.roles is not None, "it delegates by name"
    name = layout.role_name(role.name)
    keys = {key.keyid: key for key in map(tuf_key, role.keys)}
    fields = rule_values(role)
    paths = [layout.OFFERS_PATTERN]
    if role.name != PERSONALISER:
        os = role.name.partition(":")[2]
        paths = layout.release_paths(os)
        fields[EPOCH] = epoch_in(targets, name) + 1 if name in targets.delegations.roles else 0
    roles = targets.delegations.roles
    roles[name] = DelegatedRole(name, list(keys), sum(role.thresholds.values()), True, paths, None, fields)
    targets.delegations.keys.update(keys)
    used = {keyid for each in roles.values() for keyid in each.keyids}
    targets.delegations.keys = {
        keyid: key for keyid, key in targets.delegations.keys.items() if keyid in used
    }


def epoch_in(targets: Targets, name: str) -> int:
    """The epoch of a release role, 0 where it is not delegated to."""
    found = delegated_roles(targets).get(name)
    return int(found.unrecognized_fields.get(EPOCH, 0)) if found else 0


def rule_in(delegator: Root | Targets, name: str) -> Role:
    """The rule of a role by its delegator. Raises ``UsageError`` where it does not delegate to it."""
    if isinstance(delegator, Root):
        return rule_of(delegator, name, delegator.roles[name])
    # Bins are the personaliser's: its keys, its rule.
    ours = PERSONALISER if name.startswith(f"{layout.BIN_PREFIX}-") else name
    found = delegated_roles(delegator).get(ours)
    if found is None:
        raise UsageError(f"the repository has no role {name}", role=name)
    return rule_of(delegator, ours, found)


def signers_for(rule: Role, signers: Iterable[Signer], *, have: Iterable[Any] = ()) -> list[Signer]:
    """Of these signers as many of each algorithm as a rule still wants beside the keys in ``have``."""
    known = set(have)
    counts = {name: sum(key.algorithm == name for key in known) for name in rule.thresholds}
    chosen: list[Signer] = []
    for signer in signers:
        key = signer.public
        if key in rule.keys and key not in known and counts[key.algorithm] < rule.thresholds[key.algorithm]:
            counts[key.algorithm] += 1
            known.add(key)
            chosen.append(signer)
    return chosen


def sign_by(metadata: Metadata[Any], rules: Iterable[Role], signers: Sequence[Signer]) -> bool:
    """Add what each rule still wants and these signers can give; says whether anything was added."""
    added = False
    for rule in rules:
        chosen = signers_for(rule, signers, have=good_keys(rule, metadata))
        if chosen:
            add_signatures(metadata, chosen)
            added = True
    return added
