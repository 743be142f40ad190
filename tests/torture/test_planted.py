"""The harness must notice every fault that is planted in the updater."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from deltaseal.lab.torture.bench import Bench
from deltaseal.lab.torture.result import Part
from deltaseal.lab.torture.run import Job, jobs_of
from deltaseal.lab.torture.stock import Stock
from torture.planting import Site, planted, sites

SITES = sites()

# What is tried first; then everything else. By the module where the fault is.
_EVERYDAY = ("power: update", "power: removal", "power: second letter", "power: rollback", "power: rebase")
_BYTES = ("swap: apply", "hostile: deltas", "swap: update: slot", "swap: update: fetch")
_EDITED = (
    "power: staged slot edited",
    "power: live image damaged",
    "power: baseline damaged",
    "power: nothing good",
    "bent: journal",
)
_FIRST = {
    "deltaseal.trees.applier": ("power: update", *_BYTES),
    "deltaseal.trees.scanned": _BYTES,
    "deltaseal.bundle.checked": _BYTES,
    "deltaseal.device.rebase": (
        "power: rebase, its trees edited",
        "power: rebase",
        "power: rebase out of broken",
    ),
    "deltaseal.device.recovery": (*_EDITED, *_EVERYDAY),
    "deltaseal.device.removal": _EDITED,
    "deltaseal.device.stage": ("power: wrong result", *_EVERYDAY),
}
_LAST = (*_EVERYDAY, *_EDITED)

# Quick ones of each kind, for every run; the others take minutes.
QUICK = (
    "sync: storage.recipes.replace_link: without disk.sync_dir(at)",
    "sync: trees.applier._Work.finish_built: without self._disk.sync(file)",
    "order: storage.recipes.replace_link: removed before disk.rename(at, part, at, name)",
    "order: device.switch.go: finish_switch before record_attempt",
    "verification: bundle.checked._block_digests: not asked whether whole.hexdigest() != sha256",
    "verification: device.stage.build_component: not asked whether made.digest.hex() != change.result_tree",
)


class Noticed(Exception):
    """The harness found something."""


def notices(site: Site, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the harness finds first with this fault planted; empty if nothing."""

    def find(part: Part, what: str, sentence: str, **facts: Any) -> None:
        raise Noticed(f"{part.kind} {part.name}: {what}: {sentence}")

    monkeypatch.setattr(Part, "find", find)
    with planted(site):
        bench = Bench(stock)
        try:
            for job in in_order(site, jobs_of(stock)):
                job.work(bench)
        except Noticed as noticed:
            return str(noticed)
    return ""


def in_order(site: Site, jobs: list[Job]) -> list[Job]:
    by_name = {f"{job.kind}: {job.name}": job for job in jobs if job.kind != "kill"}
    names = [*_FIRST.get(site.module, ()), *_LAST, *by_name]
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]


def test_they_are_many_and_of_each_kind() -> None:
    kinds = Counter(site.kind for site in SITES)
    assert len({site.name for site in SITES}) == len(SITES) >= 25
    assert min(kinds[kind] for kind in ("sync", "order", "verification")) >= 8


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_planting_is_undone(site: Site) -> None:
    import importlib

    from torture.planting import _live

    function = _live(importlib.import_module(site.module), site.function)
    before = function.__code__
    with planted(site):
        assert function.__code__ is not before
        assert function.__code__.co_code != before.co_code
    assert function.__code__ is before


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_noticed_quickly(name: str, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    site = next(site for site in SITES if site.name == name)
    assert notices(site, stock, monkeypatch)


@pytest.mark.planted
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_every_planted_fault_is_noticed(site: Site, stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    noticed = notices(site, stock, monkeypatch)
    print(f"{site.name}\n    {noticed}")
    assert noticed
