"""Rollouts played before they are done: by the rules' own answers, the same every time, in linear time."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from support.command import deltaseal, must

from deltaseal.errors import UsageError
from deltaseal.fleet import simulate
from deltaseal.fleet.simulate import Played, play
from deltaseal.fleet.simulation_file import WORLD, Person, Plan, Simulation
from deltaseal.manifest import rules

EXAMPLE = Path(__file__).parents[2] / "examples" / "rollout.toml"
STEPS = ((0, 100), (24, 1_000), (72, 10_000))


def simulation(
    devices: int = 400, days: int = 10, person: Person | None = None, **world: float
) -> Simulation:
    values = {name: default for name, (default, _, _) in WORLD.items()} | world
    sizes = {"delta": 7_000, "delta_letter": 2_000, "whole": 1_000_000}
    return Simulation("a test", devices, days, 1, sizes, values, person, (Plan("steps", STEPS),))


def played(devices: int = 400, steps: tuple[tuple[int, int], ...] = STEPS, **more: object) -> Played:
    return play(simulation(devices, **more), Plan("steps", steps))  # type: ignore[arg-type]


QUIET = dict.fromkeys((name for name, (_, _, most) in WORLD.items() if most == 100), 0.0)


def test_with_nothing_in_its_way_everybody_has_it() -> None:
    one = played(**QUIET, use_after=0)
    assert one.active[-1] == 400
    assert (one.left, one.held[-1]) == ({}, 0)
    assert one.bytes == {"delta-baseline": 400 * 7_000}


def test_a_phase_lets_in_whom_the_rule_lets_in() -> None:
    one = played(2_000, **QUIET, use_after=0, looks_every=1)
    for hour, phase in ((23, 100), (71, 1_000)):
        assert one.active[hour] == pytest.approx(2_000 * phase / 10_000, rel=0.35)
    assert one.hours_until(99) == 72


def test_the_same_again_is_the_same() -> None:
    assert played() == played()
    assert replace_name(played(steps=((0, 10_000),))) != replace_name(played())


def replace_name(one: Played) -> Played:
    return replace(one, name="")


def test_every_answer_is_that_of_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that are left out would have said nothing new: with all judged the outcome is the same."""
    quick = played(devices=300)
    monkeypatch.setattr(simulate._Play, "_reached", lambda self, device: 0)
    look = simulate._Play._look

    def look_until_in(self: simulate._Play, number: int, hour: int, offer: rules.Offer) -> None:
        before = self.left["phase"]
        look(self, number, hour, offer)
        if self.left["phase"] > before:  # the rules said: not yet
            self.left["phase"] -= 1
            self._look_again(number, self._device(number), hour + 1, "phase")

    monkeypatch.setattr(simulate._Play, "_look", look_until_in)
    slow = played(devices=300)
    assert slow.looks > 3 * quick.looks
    assert (slow.active, slow.held, slow.bytes) == (quick.active, quick.held, quick.bytes)


@pytest.mark.parametrize(
    ("world", "left"),
    [
        ({"silent": 100}, {"silent": 400}),
        ({"off": 100}, {"policy": 400}),
        ({"clock_ahead": 100}, {"expired": 400}),
        ({"clock_behind": 100}, {}),
        ({"other_bytes": 100}, {"base": 400}),
        ({"low_battery": 100}, {"battery": 400}),
    ],
)
def test_what_the_world_does_to_a_rollout(world: dict[str, float], left: dict[str, int]) -> None:
    one = played(**(QUIET | world), use_after=0)
    assert one.left == left
    assert one.active[-1] == 400 - sum(left.values())


def test_notify_installs_by_itself_after_the_deadline() -> None:
    one = played(**(QUIET | {"notify": 100, "deadline_day": 4}), use_after=0)
    assert (one.active[4 * 24 - 1], one.active[-1]) == (0, 400)


def test_a_channel_lets_in_its_devices_only() -> None:
    here = simulation(**(QUIET | {"on_seed": 25}), use_after=0)
    one = play(here, Plan("seed first", ((0, 10_000),), channel="seed"))
    assert one.active[-1] == pytest.approx(100, rel=0.3)
    assert one.left == {"channel": 400 - one.active[-1]}


def test_a_failed_delta_costs_whole_files_where_the_policy_lets_them() -> None:
    one = played(**(QUIET | {"delta_fails": 100}), use_after=0)
    assert one.bytes == {"delta-baseline": 400 * 7_000, "whole": 400 * 1_000_000}
    metered = played(**(QUIET | {"delta_fails": 100, "unmetered_only": 100, "metered": 100}), use_after=0)
    assert metered.bytes == {"delta-baseline": 400 * 7_000}
    assert metered.held[-1] == 400


def test_the_letter_before_makes_a_smaller_delta() -> None:
    one = played(**(QUIET | {"have_letter": 100}), use_after=0)
    assert one.bytes == {"delta-letter": 400 * 2_000}


def test_a_person_who_watches_pauses_what_fails() -> None:
    world = QUIET | {"fails": 30.0}
    alone = played(2_000, **world, use_after=0)
    watched = played(2_000, person=Person(2, 4), **world, use_after=0)
    assert alone.held[-1] > 500
    assert watched.paused_at is not None
    assert watched.paused_at < 72
    assert watched.held[-1] < 100
    assert watched.left["paused"] > 1_700


def test_work_and_memory_grow_with_the_devices() -> None:
    def cost(devices: int) -> tuple[int, int]:
        tracemalloc.start()
        looks = played(devices).looks
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return looks, peak

    small, large = cost(500), cost(4_000)
    assert large[0] == pytest.approx(8 * small[0], rel=0.1)
    assert large[1] - small[1] < 3_500 * 16  # bytes a device


# ---- the file, the command -------------------------------------------------------------------------------


def test_the_example_states_the_defaults() -> None:
    read = Simulation.loads(EXAMPLE.read_text())
    assert read.world == {name: default for name, (default, _, _) in WORLD.items()}
    assert [plan.name for plan in read.plans] == ["five steps in eight days", "all at once"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "format = 1"),
        ("x", "not TOML"),
        ("format = 1", "no plan"),
        ("format = 1\nsped = 3", "unknown key sped"),
        ("format = 1\ndevices = 0\n[[plans]]\nsteps=[{hour=0,phase=1}]", "devices = 0"),
        ("format = 1\nworld = 3\n[[plans]]\nsteps=[{hour=0,phase=1}]", "world is a table"),
        ("format = 1\n[world]\nsilent = 101\n[[plans]]\nsteps=[{hour=0,phase=1}]", "from 0 to 100"),
        ("format = 1\n[world]\nsilnt = 1\n[[plans]]\nsteps=[{hour=0,phase=1}]", "unknown key silnt"),
        ("format = 1\n[world]\noff=60\nnotify=60\n[[plans]]\nsteps=[{hour=0,phase=1}]", "over 100"),
        ("format = 1\n[[plans]]\nsteps=[{hour=1,phase=9},{hour=2,phase=1}]", "never fall"),
        ("format = 1\n[[plans]]\nsteps=[{hour=1,phase=9},{hour=1,phase=10}]", "rising hours"),
        ("format = 1\n[[plans]]\nchannel='x'\nsteps=[{hour=1,phase=9}]", "neither seed nor stable"),
        ("format = 1\n[[plans]]\nsteps=[3]", "a step is"),
    ],
)
def test_a_file_that_cannot_be_meant(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Simulation.loads(text)


def test_the_command_plays_and_compares(tmp_path: Path) -> None:
    ran = must("fleet", "simulate", EXAMPLE, "--devices", "500", "--plot", tmp_path / "curve.svg")
    assert "WebKit, 17 March: 500 devices, 21 days" in ran.out
    assert "five steps in eight days, beside all at once" in ran.out
    assert "deltas from the baseline" in ran.out
    assert (tmp_path / "curve.svg").read_text().count("<polyline") == 2
    found = must("fleet", "simulate", EXAMPLE, "--devices", "500", "--json").json
    assert [plan["devices"] for plan in found["plans"]] == [500, 500]
    assert len(found["plans"][0]["active"]) == 21
    (tmp_path / "bad.toml").write_text("format = 2")
    assert deltaseal("fleet", "simulate", tmp_path / "bad.toml").code == 2
