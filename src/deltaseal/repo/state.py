"""A repository as it lies there, read once: what is in force, what is being prepared, the rules of both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tuf.api.metadata import Metadata, Root, Targets

from deltaseal.bundle import open_bundle
from deltaseal.errors import SignatureError, UsageError
from deltaseal.manifest import BundleManifest
from deltaseal.repo import layout, parts
from deltaseal.repo.folders import Folder
from deltaseal.repo.metadata import dump
from deltaseal.repo.published import Published, read_published, staged_roles
from deltaseal.repo.trusted import trust_of
from deltaseal.storage import MissingError
from deltaseal.trust import Role, Trust

__all__ = ["State"]


class State:
    """One reading of a publisher's folder. It sees nothing of what is written afterwards."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @cached_property
    def published(self) -> Published | None:
        """What is in force, or ``None`` before the first publishing."""
        if layout.TIMESTAMP_NAME not in self._folder.names(layout.METADATA):
            return None
        return read_published(self._folder)

    @cached_property
    def staged(self) -> Mapping[str, Metadata[Any]]:
        """The role files that are being prepared, by role.

        One that is in force already was left by a publishing that was cut off at its very end.
        """
        found = staged_roles(self._folder)
        in_force = self.published.versions(found) if self.published else {}
        return {role: one for role, one in found.items() if one.signed.version > in_force.get(role, 0)}

    @cached_property
    def bodies(self) -> Mapping[str, Root | Targets]:
        """Root, targets and release roles, each as it is being prepared, else as it is in force."""
        bodies: dict[str, Root | Targets] = {}
        if self.published is not None:
            bodies["root"] = self.published.root
            for role in ("targets", *self.published.releases):
                bodies[role] = self.published.targets(role)
        return bodies | {role: found.signed for role, found in self.staged.items()}

    @cached_property
    def trust(self) -> Trust:
        """Whose documents count, after the root and targets that are being prepared or in force."""
        files = {f"{role}.json": dump(Metadata(self.bodies[role])) for role in ("root", "targets")}
        return trust_of(files, "")

    def rules(self, role: str) -> dict[str, Role]:
        """The rules that a role file must meet, by words for them: a root also that of the one before."""
        delegator = self.bodies["root"] if role in parts.TOP else self.bodies["targets"]
        rules = {"its rule": parts.rule_in(delegator, role)}
        if role == "root" and self.published is not None:
            rules["the rule of the root before"] = parts.rule_in(self.published.root, role)
        return rules

    def former_rules(self, role: str) -> list[Role]:
        """The rule, where it is another, by which devices go until they see what is being prepared."""
        if self.published is None or role == "root" or not self.staged.keys() & {"root", "targets"}:
            return []
        delegator = self.published.root if role in parts.TOP else self.published.targets("targets")
        try:
            before = parts.rule_in(delegator, role)
        except (SignatureError, UsageError):
            return []
        return [before] if before not in self.rules(role).values() else []

    def manifest(self, digest: str, *, now: int) -> BundleManifest:
        """The verified manifest of a bundle that was added. Raises ``UsageError`` for one that was not."""
        try:
            source = self._folder.open(layout.bundle_name(digest))
        except MissingError as error:
            raise UsageError(
                f"the bundle {digest[:12]}… is not in the repository", hint="add it first", bundle=digest
            ) from error
        return open_bundle(source).verify(self.trust, now=now).manifest
