from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deltaseal.errors import UsageError
from deltaseal.lab.bench import Record, Usage
from deltaseal.lab.bench.compare import compare
from deltaseal.lab.bench.result import Result, load_result
from deltaseal.lab.bench.summary import METRICS, mean_ratio, pair_ratio
from deltaseal.lab.bench.tables import result_lines

MACHINE = {"processor": "one"}


def record(pair: str, delta_bytes: int, *, tool: str = "deltaseal", cpu_s: float = 1.0) -> Record:
    usage = Usage(cpu_s, cpu_s, 20480)
    rounds = (usage, Usage(cpu_s * 2, cpu_s, 20480), Usage(cpu_s / 2, cpu_s, 20480))
    return Record(pair, "g", 10_000, 11_000, tool, "", delta_bytes, usage, usage, 3, "", rounds, rounds)


def result(*records: Record) -> Result:
    return Result(records, MACHINE, {}, "bench")


def test_a_run_comes_back_from_its_json(tmp_path: Path) -> None:
    made = result(record("a", 500), record("a", 900, tool="zstd"))
    (tmp_path / "run.json").write_text(made.to_json())
    assert load_result(tmp_path / "run.json") == made


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2, "records": [{}]}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError):
        load_result(tmp_path / "run.json")


def test_bytes_are_judged_by_pair_and_peers_are_not() -> None:
    before = result(record("a", 1000), record("b", 1000), record("gone", 5), record("a", 10, tool="zstd"))
    after = result(record("a", 1010), record("b", 900), record("new", 5), record("a", 99, tool="zstd"))
    found = compare(before, after, {"bytes": 0.5})
    assert found.past == ("a (deltaseal) grew by 1.00 %, the limit is 0.5 %",)
    assert [change.pair for change in found.changes] == ["a", "b"]
    assert (found.only_before, found.only_after) == (("gone (deltaseal)",), ("new (deltaseal)",))
    assert not compare(before, after, {"bytes": 1.0}).past
    assert "b (deltaseal): shrank from 1,000 to 900 bytes (-10.00 %)" in found.lines()


def test_times_are_judged_in_the_mean_and_only_where_asked() -> None:
    before = result(record("a", 10), record("b", 10))
    after = result(record("a", 10, cpu_s=4.0), record("b", 10, cpu_s=0.5))
    assert compare(before, after, {"bytes": 0}).past == ()
    (words,) = compare(before, after, {"create": 40.0}).past
    assert words == "create grew by 41.42 % in the mean, the limit is 40 %"
    other = replace(after, machine={"processor": "two"})
    assert any("different processors" in line for line in compare(before, other, {}).lines())


def test_a_comparison_of_nothing_is_not_passed() -> None:
    found = compare(result(record("a", 10)), result(record("b", 10)), {"bytes": 0})
    assert len(found.past) == 1 and "nothing was compared" in found.past[0]
    assert "no delta changed its size" not in found.lines()


def test_ratios_have_the_spread_of_rounds_and_of_pairs() -> None:
    mine, its = record("a", 500), record("a", 1000, tool="zstd", cpu_s=2.0)
    its = replace(its, creates=(Usage(2.0, 1, 1), Usage(1.0, 1, 1), Usage(2.0, 1, 1)))
    found = pair_ratio(mine, its, METRICS["create"])
    assert found is not None
    assert (found.value, found.low, found.high, found.count) == (0.5, 0.25, 2.0, 3)
    run = result(mine, its, record("b", 100), record("b", 800, tool="zstd"))
    mean = mean_ratio(run, "deltaseal", "zstd", METRICS["bytes"])
    assert mean is not None
    assert (round(mean.value, 3), mean.low, mean.high, mean.count) == (0.25, 0.125, 0.5, 2)


def test_the_best_is_marked_and_a_failure_is_told() -> None:
    bad = replace(record("a", 0, tool="bad"), failure="create: out of time")
    lines = result_lines(result(record("a", 500), record("a", 900, tool="zstd"), bad))
    assert any(line.startswith("deltaseal") and "500*" in line for line in lines)
    assert any(line.startswith("zstd") and " 900 " in line and "0.556" in line for line in lines)
    assert "bad failed: create: out of time" in lines
    assert "made on: processor one" in lines


def test_what_is_too_short_to_be_told_from_nothing_is_equally_short() -> None:
    quick = [record("a", 500, tool=f"quick{n}", cpu_s=0.001 * n) for n in (1, 2)]
    lines = result_lines(result(record("a", 500), *quick))
    assert [line.count("<0.005*") for line in lines if line.startswith("quick")] == [2, 2]
