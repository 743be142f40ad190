"""The harness must notice every fault that is planted in the updater."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from deltaseal.lab.torture.bench import Bench, UnpreparedError
from deltaseal.lab.torture.result import Part
from deltaseal.lab.torture.run import Job, jobs_of
from deltaseal.lab.torture.stock import Stock
from torture.planting import Site, planted, sites

SITES = sites()

# What is tried first, by the module where the fault is; then everything else, what is quick first.
_QUICK_ACTS = ("power: update", "power: removal")
_BYTES = ("swap: apply", "hostile: deltas", "swap: update: slot", "swap: update: fetch")
_EDITED = (
    "power: live image damaged",
    "power: baseline damaged",
    "power: nothing good",
    "bent: journal",
)
_REBASES = (
    "power: rebase, its trees edited",
    "power: rebase, nothing good",
    "power: rebase, no reserve",
    "power: rebase, slot edited late",
    "power: rebase",
)
_FIRST = {
    "storage.recipes.write_file": ("power: update", "power: rebase"),
    "trees.applier": ("power: update", *_BYTES),
    "trees.scanned": _BYTES,
    "bundle.checked": _BYTES,
    "device.fetch": ("power: update", "power: bad bytes"),
    "device.journal": ("power: update", "power: journal torn"),
    "device.rebase": _REBASES,
    "device.rebase.start_rebase": ("power: rebase, the same base", *_REBASES),
    "device.rebase._check_bytes": ("power: rebase, other trees",),
    "device.recovery": _EDITED,
    "device.recovery._switch_again": ("power: switching, slot edited",),
    "device.recovery._to_baseline": ("power: pointer moved to damage",),
    "device.recovery._adopt": ("power: rebase, records lost",),
    "device.recovery._repair": ("power: no pointer, slot edited", "power: no pointer, baseline edited"),
    "device.recovery._away_from": ("power: no pointer, nothing good", "power: no pointer, slot edited"),
    "device.removal": _EDITED,
    "device.stage": ("power: wrong result", "power: update"),
    "device.store.Store.slot_faults": ("power: staged link moved",),
    "device.store.Store.take_metadata": ("power: news",),
    "device.store.Store.give_up_reserve": ("power: removal, disk full",),
    "device.switch.go": ("power: update", "power: staged slot edited"),
    "device.switch.roll_back": ("power: rollback to nothing", "power: rollback"),
    "device.switch.finish_rollback": (
        "power: rollback to nothing",
        "power: rollback to a letter",
        "power: rollback",
    ),
    "device.switch.remove": ("power: removal", "power: baseline damaged"),
}

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
        except (Noticed, UnpreparedError) as noticed:
            return str(noticed)
    return ""


def in_order(site: Site, jobs: list[Job]) -> list[Job]:
    by_name = {f"{job.kind}: {job.name}": job for job in sorted(jobs, key=_slowness) if job.kind != "kill"}
    place = f"{site.module}.{site.function}".removeprefix("deltaseal.")
    first = max((start for start in _FIRST if place.startswith(start)), key=len, default="")
    names = [*_FIRST.get(first, ()), *_QUICK_ACTS, *by_name]
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]


def _slowness(job: Job) -> tuple[bool, int]:
    return job.kind == "faults", job.weight


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
