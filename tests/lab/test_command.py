from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaseal.lab.__main__ import main
from deltaseal.lab.bench import Pair, Tool

PAIRS_TOML = """\
[[pair]]
name = "one"
group = "security"
kind = "elf"
arch = "amd64"
old_bytes = 10240
new_bytes = 10496

[[pair]]
name = "away"
group = "macho"
kind = "macho"
arch = "arm64"
old_bytes = 1
new_bytes = 2
"""
PEERS_CSV = """\
pair,group,old_bytes,new_bytes,peer,settings,delta_bytes,create_cpu_s,create_peak_kb,apply_cpu_s,apply_peak_kb,verified
one,security,10240,10496,bsdiff4,x,200,1,1,1,1,yes
"""


@pytest.fixture
def bench(make_tool: Callable[..., Tool], pair: Pair, tmp_path: Path) -> Callable[..., int]:
    """The command over a corpus of one pair, with a fake deltaseal."""
    (tmp_path / "pairs.toml").write_text(PAIRS_TOML)
    (tmp_path / "peers.csv").write_text(PEERS_CSV)
    (tmp_path / "fetch").write_text("print('away: skipped: no network')")

    def call(*arguments: str, **fault: str) -> int:
        program = make_tool(**fault).create[0]
        places = ["--corpus", tmp_path / "corpus", "--lists", tmp_path, "--sizes", tmp_path / "sizes.csv"]
        return main([*map(str, places), "--tool", program, *arguments])

    return call


def test_the_table_is_written_and_the_change_told(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("one") == 0
    assert "one: new, " in capsys.readouterr().out
    _, line = (tmp_path / "sizes.csv").read_text().splitlines()
    assert line.startswith("one,security,10240,10496,200,,bsdiff4,")
    assert bench("one") == 0
    assert "no change" in capsys.readouterr().out


def test_a_pair_that_cannot_be_had_is_left_out(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench() == 0
    assert "fetching 1 pairs" in capsys.readouterr().err
    assert len((tmp_path / "sizes.csv").read_text().splitlines()) == 2
    assert bench("away") == 2


def test_a_failed_round_trip_is_not_written(bench: Callable[..., int], tmp_path: Path) -> None:
    assert bench("one", apply="sys.exit(1)") == 30
    assert len((tmp_path / "sizes.csv").read_text().splitlines()) == 1


def test_bars_and_growth_exit_30(bench: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("one", "--bar", "bsdiff4:security=5", "--worst", "best:all=5") == 0
    assert bench("one", "--bar", "bsdiff4:security=0.01") == 30
    assert "the bar is 0.01" in capsys.readouterr().err
    grown = "Path(out).write_bytes(zlib.compress(data) + bytes(9))"
    tolerant = "Path(out).write_bytes(zlib.decompressobj().decompress(data))"
    assert bench("one", "--no-growth", diff=grown, apply=tolerant) == 30
    assert "grew from" in capsys.readouterr().err


def test_a_peer_runs_beside(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "records.json"
    assert bench("one", "--peers", "bsdiff4", "--json", str(out), "--csv", str(tmp_path / "records.csv")) == 0
    assert [record["tool"] for record in json.loads(out.read_text())["records"]] == ["deltaseal", "bsdiff4"]
    assert "ours/its create" in capsys.readouterr().out
    assert bench("one", "--peers", "nobody") == 2


@pytest.mark.parametrize("wrong", ["bsdiff4=1", "nobody:all=1", "best:all=x"])
def test_a_wrong_bar_is_a_usage_error(bench: Callable[..., int], wrong: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench("--bar", wrong)
    assert stopped.value.code == 2
