"""The harness on the real updater: it runs, it counts, it judges, it tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deltaseal.device import Device
from deltaseal.device.states import ROWS
from deltaseal.lab.torture import bent, hostile, swap
from deltaseal.lab.torture.acts import acts_of
from deltaseal.lab.torture.bench import Bench, overlaid
from deltaseal.lab.torture.choices import BOTH_ENDS
from deltaseal.lab.torture.faults import FAULTS, fail_everywhere
from deltaseal.lab.torture.kill import kill_often
from deltaseal.lab.torture.power import CUT_ONCE, Depth, Exploration, cut_everywhere
from deltaseal.lab.torture.result import Part, Report
from deltaseal.lab.torture.run import LEAST_CUTS, jobs_of, rows_not_crossed, torture
from deltaseal.lab.torture.seen import Eye, crossings, notes_of
from deltaseal.lab.torture.stock import BASELINE, NEXT_BASE, Stock
from deltaseal.lab.torture.tell import finding_lines, junit_xml, table, to_json
from deltaseal.storage.nodes import DiskState


def act(stock: Stock, name: str):
    return next(act for act in acts_of(stock) if act.name == name)


@pytest.mark.parametrize(
    "name", ["update", "removal", "removal, disk full", "waiting", "staged slot edited", "news"]
)
def test_the_updater_survives_every_cut(bench: Bench, name: str) -> None:
    part = cut_everywhere(bench, act(bench.stock, name), CUT_ONCE)
    assert part.findings == []
    assert part.cuts >= 30
    assert part.states > part.distinct > part.cuts / 2
    assert (part.ended["old"] and part.ended["new"]) or name in ("staged slot edited", "news")


def test_a_run_is_the_same_each_time(stock: Stock) -> None:
    first, again = (cut_everywhere(Bench(stock), act(stock, "bad bytes"), CUT_ONCE) for _ in range(2))
    assert replace(first, seconds=0) == replace(again, seconds=0)


def test_few_acts_have_more_cut_points_than_needed(bench: Bench) -> None:
    shallow = Depth((BOTH_ENDS,), (BOTH_ENDS,))
    parts = [cut_everywhere(bench, act(bench.stock, name), shallow) for name in ("second letter", "rollback")]
    assert [part.findings for part in parts] == [[], []]
    assert sum(part.cuts for part in parts) >= LEAST_CUTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_updater_survives_faults(bench: Bench, fault) -> None:
    part = fail_everywhere(bench, act(bench.stock, "removal"), fault)
    assert part.findings == []
    assert part.cuts >= 4
    assert any(word.startswith("fault: E_") for word in part.ended)


def test_the_updater_survives_being_killed(bench: Bench) -> None:
    part = kill_often(bench, act(bench.stock, "update"), times=3)
    assert part.findings == []
    assert part.cuts == 3


def test_the_updater_uses_only_what_it_verified(bench: Bench) -> None:
    parts = [swap.swap_everywhere(bench, act(bench.stock, "update"), each, every=29) for each in swap.TARGETS]
    parts.append(swap.swap_under_apply(bench, every=3))
    assert [part.findings for part in parts] == [[]] * 5
    assert all(part.cuts >= 10 for part in parts)


def test_hostile_input_is_refused(bench: Bench) -> None:
    listings, deltas, images = (
        hostile.play_listings(),
        hostile.play_deltas(bench),
        hostile.bend_image_delta(bench),
    )
    assert listings.findings == deltas.findings == images.findings == []
    assert set(listings.ended) == {"E_TREE"}
    assert deltas.cuts == len(hostile.DELTAS) >= 25


def test_bent_bytes_are_refused(bench: Bench) -> None:
    assert bent.bend_payloads(bench, samples=3).findings == []
    assert bent.bend_journal(bench, every=499).findings == []


# ---- the harness itself ------------------------------------------------------------------------------------


def test_the_eye_tells_trees_by_their_bytes(bench: Bench) -> None:
    eye, new = Eye(bench.stock), bench.new()
    assert eye.label(new) == BASELINE
    updated = bench.done(new, lambda device: device.update([bench.stock.source("a")]))
    assert eye.label(updated) == "a"
    path = "d/slot-1/app/lib/engine.so"
    leaf = updated.leaves[path]
    assert (
        eye.label(overlaid(updated, {path: ("file", leaf[1] + b"x", leaf[2])})) == "unknown trees in slot-1"
    )
    assert eye.label(overlaid(updated, {"d/active": None})) == "no pointer"
    assert NEXT_BASE not in {eye.label(new), eye.label(updated)}


def test_what_a_journal_crossed_is_read_from_it(bench: Bench) -> None:
    new = bench.new()
    updated = bench.done(new, lambda device: device.update([bench.stock.source("a")]))
    crossed = list(crossings(notes_of(new.leaves), notes_of(updated.leaves)))
    assert [event for _, event, _ in crossed] == [
        "offer", "fetched", "staged", "go", "pointer-durable", "in-use", "healthy",
    ]  # fmt: skip
    missed = rows_not_crossed(set(crossed))
    assert len(missed) == len(ROWS) - len(crossed)


class LyingDevice(Device):
    """A device whose recovery forgets what it has to do."""

    def recover(self):
        return self.status()


def test_a_device_that_does_not_recover_is_found_wanting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        bench, "device", lambda disk, world: LyingDevice(Path("/d"), edge=world.edge(), disk=disk)
    )
    broken = replace(act(bench.stock, "update"), run=lambda bench, device: device.status(), retry=None)
    part = cut_everywhere(bench, broken, CUT_ONCE)
    assert {finding.what for finding in part.findings} == {"not durable", "repeat"}


def test_mixed_trees_are_found_wanting(bench: Bench) -> None:
    part = Part("power", "x", "")
    exploration = Exploration(bench, act(bench.stock, "update"), part, CUT_ONCE)
    leaf = bench.new().leaves["d/baseline/app/lib/engine.so"]
    mixed = overlaid(bench.new(), {"d/baseline/app/lib/engine.so": ("file", leaf[1][:-1], leaf[2])})
    exploration.settle_found(DiskState(mixed.leaves), "made by hand")
    assert [finding.what for finding in part.findings] == ["mixed"]
    assert part.findings[0].facts["way"] == "made by hand; before recovery"


def test_metadata_that_is_not_whole_is_found_wanting(bench: Bench) -> None:
    news, good = act(bench.stock, "news"), bench.believing()
    assert bench.eye.metadata(good) == bench.repository.before != bench.repository.after
    leaf = good.leaves["d/metadata-1/targets.json"]
    for changes in (
        {"d/metadata-1/targets.json": ("file", leaf[1][:99], leaf[2])},
        {"d/metadata-1/targets.json": None},
        {"d/metadata": ("link", "metadata-2")},
        {"d/metadata": None},
    ):
        part = Part("power", "x", "")
        Exploration(bench, news, part, CUT_ONCE).settle_found(overlaid(good, changes), "made by hand")
        assert [finding.what for finding in part.findings] == ["metadata"]


def test_metadata_that_is_not_taken_is_found_wanting(bench: Bench) -> None:
    unmoved = replace(act(bench.stock, "news"), run=lambda bench, device: device.update([]))
    found = cut_everywhere(bench, unmoved, CUT_ONCE).findings
    assert {finding.what for finding in found} == {"not durable", "repeat"}


def report(*, good: bool) -> Report:
    part = Part("power", "update", "words <&>", operations=3, cuts=2, states=5, distinct=4)
    if not good:
        for number in range(5):
            part.find("mixed", "it shows \x1b neither", way=f"cut {number}")
    return Report("the built-in scenario", "default", [part], [], rows=2, crossed=2)


def test_a_report_says_the_same_in_each_form() -> None:
    bad = report(good=False)
    assert not bad.good
    assert any("5 FINDINGS" in line for line in table(bad))
    lines = list(finding_lines(bad))
    assert lines[0].startswith("power: update: mixed") and "    way: cut 0" in lines
    assert lines[-1] == "and 3 more of the same parts"
    values = json.loads(to_json(bad))
    assert (values["good"], values["total"]["distinct"], values["parts"][0]["more_findings"]) == (False, 4, 3)
    suite = ElementTree.fromstring(junit_xml(bad)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert len(suite.findall("testcase/failure")) == 2


def test_a_good_report_has_no_failures() -> None:
    suite = ElementTree.fromstring(junit_xml(report(good=True))).find("testsuite")
    assert suite is not None and suite.get("failures") == "0"
    assert list(finding_lines(report(good=True))) == []


def test_a_run_that_crossed_too_little_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from deltaseal.lab.torture import run

    def few(stock, *, full=False, kinds=run.KINDS, seed=0):
        return [run.Job("power", "nothing", 1, lambda bench: [Part("power", "nothing", "")])]

    monkeypatch.setattr(run, "jobs_of", few)
    found = torture()
    assert not found.good
    whats = [finding.what for _, finding in found.findings]
    assert whats.count("row not crossed") == len(ROWS)
    assert whats[-1] == "too few cuts"
    assert torture(kinds=["power"]).good  # a part of a run is not judged as a whole


def test_every_kind_of_test_is_planned(stock: Stock) -> None:
    jobs = jobs_of(stock)
    assert {job.kind for job in jobs} == {"power", "faults", "kill", "bent", "swap", "hostile"}
    assert len({(job.kind, job.name) for job in jobs}) == len(jobs)
    assert len(jobs_of(stock, full=True)) > len(jobs)
