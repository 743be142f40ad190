"""The repository that a device believes in: its metadata, brought up to date before all else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deltaseal.device.store import Store
from deltaseal.device.updater import Updater
from deltaseal.errors import DeltasealError
from deltaseal.repo import Repository, Source, needs_root

__all__ = ["bound_to_store", "refreshed"]


def refreshed(up: Updater, sources: Sequence[Source]) -> tuple[Updater, list[Source], DeltasealError | None]:
    """Refresh from the mirrors among the sources: the updater by the new trust, sources to ask, a failure.

    What passed is in the store when this returns, also where the failure says that not all of it did. Raises
    ``UsageError`` for a mirror on a device that was made without a root.
    """
    mirrors = [source for source in sources if isinstance(source, Repository)]
    others = [source for source in sources if not isinstance(source, Repository)]
    if not mirrors:
        return up, others, None
    had = up.store.metadata()
    if had is None:
        raise needs_root(mirrors[0].name)
    from deltaseal.repo import BoundRepository, bring_up_to_date  # TUF is loaded where there is a mirror

    base, model = up.base, up.identity.model
    done = bring_up_to_date(mirrors, had, os=base.os, build=base.build, model=model, now=up.now_under)
    if done.files != had:
        up.store.take_metadata(done.files)
        up = replace(up, trust=up.store.trust())
    if done.failure is not None:
        return up, others, done.failure
    return up, [*others, *(BoundRepository(each.transport, done.files, up.now) for each in mirrors)], None


def bound_to_store(store: Store, sources: Sequence[Source], now: int) -> list[Source]:
    """The sources, mirrors with what the store believes of them already: nothing is fetched."""
    if not any(isinstance(each, Repository) for each in sources):
        return list(sources)
    from deltaseal.repo import BoundRepository

    had = store.metadata() or {}
    return [
        BoundRepository(each.transport, had, now) if isinstance(each, Repository) else each
        for each in sources
    ]
