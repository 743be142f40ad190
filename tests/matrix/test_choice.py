"""Which deltas are kept: the rules of docs/spec/matrix.md, section 6, and what they save."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaseal.lab.matrix.choice import choose, served
from deltaseal.lab.matrix.releases import Population

BASE = "macos-26.3.1"


def kept(sizes: dict[str, int], percent: int = 10, population: Population | None = None) -> dict[str, str]:
    """Why each start is kept, or with a minus why not."""
    choices = choose(sizes, percent, population, BASE)
    return {start: ("" if choice.kept else "-") + choice.why for start, choice in choices.items()}


@pytest.mark.parametrize(
    ("size", "why"), [(90, "always"), (91, "-no-saving"), (100, "-no-saving"), (0, "always")]
)
def test_a_delta_that_saves_too_little_is_not_kept(size: int, why: str) -> None:
    assert kept({"baseline": size, "whole": 100}) == {"baseline": why, "whole": "always"}


def test_without_a_population_the_smaller_one_is_kept() -> None:
    sizes = {"baseline": 50, "a": 49, "b": 50, "c": 91, "whole": 100}
    assert kept(sizes) == {
        "baseline": "always",
        "a": "smaller",
        "b": "-not-smaller",
        "c": "-no-saving",
        "whole": "always",
    }
    assert kept({"baseline": 95, "a": 80, "whole": 100})["a"] == "smaller"


@pytest.mark.parametrize(("devices", "why"), [(41, "pays"), (40, "-does-not-pay"), (0, "-does-not-pay")])
def test_a_letter_pays_over_its_copies(devices: int, why: str) -> None:
    # 50 bytes less for each device, 50 bytes on each of 40 mirrors.
    population = Population(40, {BASE: {"baseline": 5, "a": devices}})
    assert kept({"baseline": 100, "a": 50, "whole": 1000}, population=population)["a"] == why


def test_what_is_served_and_saved() -> None:
    population = Population(1, {BASE: {"baseline": 3, "a": 2, "b": 7, "c": 1}})
    sizes = {"baseline": 100, "a": 40, "whole": 1000}
    total = served(sizes, {"baseline", "a", "whole"}, population, BASE, done=frozenset("c"))
    # b has no size of its own: served as the baseline; c has the result.
    assert total.chosen == 3 * 100 + 2 * 40 + 7 * 100
    assert total.baselines == 12 * 100
    assert total.whole == 12 * 1000
    assert total.stored == 1140
    choices = choose(sizes, 10, population, BASE)
    assert choices["a"].saves == 2 * 60
    assert choices["whole"].saves == 0


@given(
    sizes=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2000)),
    baseline=st.integers(0, 1500),
    counts=st.dictionaries(st.sampled_from(["baseline", *"abcdef"]), st.integers(0, 50)),
    mirrors=st.integers(1, 40),
    percent=st.integers(0, 100),
)
def test_no_single_change_of_the_choice_of_letters_would_pay(
    sizes: dict[str, int], baseline: int, counts: dict[str, int], mirrors: int, percent: int
) -> None:
    all_sizes = {"baseline": baseline, **sizes, "whole": 1000}
    population = Population(mirrors, {BASE: counts})
    choices = choose(all_sizes, percent, population, BASE)
    chosen = {start for start, choice in choices.items() if choice.kept}

    def price(starts: set[str]) -> int:
        total = served(all_sizes, starts, population, BASE)
        return total.chosen + mirrors * total.stored

    for letter in sizes:
        if choices[letter].why != "no-saving":
            assert price(chosen) <= price(chosen ^ {letter})
    total = served(all_sizes, chosen, population, BASE)
    assert total.chosen <= total.baselines <= total.whole
