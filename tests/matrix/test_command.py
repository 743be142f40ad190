"""`deltaseal matrix`: what it says, its exit codes, and what its display shows."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from support.command import deltaseal, must
from support.matrices import RELEASES, content

from deltaseal.cli.matrix_display import Display
from deltaseal.lab.matrix.jobs import ImageJob, Task

POPULATION = """\
format = 1
mirrors = 2

[devices."macos-26.3.1"]
baseline = 1000
a = 70
"""


@pytest.fixture
def there(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The built matrix; its folder is the current one, its cache the user's."""
    monkeypatch.chdir(made)
    (made / "user").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / "user"))
    (made / "user" / "deltaseal").mkdir()
    (made / "cache").rename(made / "user" / "deltaseal" / "matrix")
    (made / "POPULATION.toml").write_text(POPULATION)
    return made


def test_a_second_run_says_that_there_is_nothing_to_do(there: Path) -> None:
    ran = must("matrix", "build", "RELEASES.toml", "-o", "out", "--json")
    assert (ran.json["jobs_made"], ran.json["jobs_cached"], ran.json["written"]) == (0, 7, False)


def test_it_says_so_to_all_but_the_quiet(there: Path) -> None:
    build = ("matrix", "build", "RELEASES.toml", "-o", "out")
    assert must(*build).err == "nothing to do: out: 9 deltas of 9 cells kept, all there already\n"
    assert must(*build, "--quiet").err == ""
    assert must(*build[:-1], "third").err.startswith("third: 9 deltas of 9 cells kept; 0 jobs made")


def test_from_the_cache_into_another_folder(there: Path) -> None:
    ran = must("matrix", "build", "RELEASES.toml", "-o", "again", "--json", "--jobs", "1", "--memory", "1G")
    assert (ran.json["jobs_made"], ran.json["written"]) == (0, True)
    assert content(there / "again") == content(there / "out")


def test_a_plan_in_words_and_values(there: Path) -> None:
    told = must("matrix", "plan", "RELEASES.toml", "--population", "POPULATION.toml")
    values = must("matrix", "plan", "RELEASES.toml", "--population", "POPULATION.toml", "--json").json
    served = values["served"]
    assert served["chosen"] <= served["baselines_alone"] < served["whole_alone"]
    assert f"{served['whole_alone']:,} bytes served, 100.0 %" in told.out
    letter = next(cell for cell in values["cells"] if cell["start"] == "a")
    assert letter["why"] in ("pays", "does-not-pay") and letter["kept"] == (letter["why"] == "pays")
    assert f"({letter['why']})" in told.out


def test_what_does_not_pay_is_not_written(there: Path) -> None:
    (there / "POPULATION.toml").write_text(POPULATION.replace("a = 70", "a = 0"))
    must("matrix", "build", "RELEASES.toml", "-o", "less", "--population", "POPULATION.toml")
    gone = content(there / "out").keys() - content(there / "less").keys()
    assert gone <= {"macos-26.3.1/app/from-a.delta"}
    cells = json.loads((there / "less" / "matrix.json").read_bytes())["cells"]
    assert [cell["path"] for cell in cells if not cell["kept"]] == [None]
    must("matrix", "verify", "RELEASES.toml", "less")


def test_a_plan_needs_what_was_made(there: Path) -> None:
    ran = deltaseal(
        "matrix", "plan", "RELEASES.toml", "--population", "POPULATION.toml", "--cache", there / "none"
    )
    assert ran.code == 2
    assert "7 of 7 deltas are not made yet" in ran.err


def test_every_delta_is_proved(there: Path) -> None:
    ran = must("matrix", "verify", "RELEASES.toml", "out")
    assert ran.out == "9 deltas applied and compared\n"


def test_what_is_wrong_is_found_and_ends_with_30(there: Path) -> None:
    out = there / "out"
    (out / "macos-26.3.1" / "app" / "whole.delta").write_bytes(b"?")
    (out / "macos-26.3.2" / "app" / "whole.delta").unlink()
    (out / "stranger").touch()
    (there / "os-neo" / "note.txt").write_bytes(b"another base")
    ran = deltaseal("matrix", "verify", "RELEASES.toml", "out", "--json")
    assert ran.code == 30
    assert ran.json["error"]["facts"]["proved"] == 5 and len(ran.json["error"]["facts"]["faults"]) == 5
    ran = deltaseal("matrix", "verify", "RELEASES.toml", "out")
    assert ran.code == 30
    found = [line.split(": ")[:2] for line in ran.out.splitlines()[:-1]]
    assert found == [
        ["E_DIGEST", "macos-26.3.1/app/whole.delta"],
        ["E_IO", "macos-26.3.2/app/whole.delta"],
        ["E_BASE", "macos-26.3.2/os/from-baseline.delta"],
        ["E_BASE", "macos-26.3.2/os/whole.delta"],
        ["E_TYPE", "stranger"],
    ]
    assert ran.out.endswith("5 deltas applied and compared\n")


def test_a_component_without_any_delta_is_found(there: Path) -> None:
    index = there / "out" / "matrix.json"
    values = json.loads(index.read_bytes())
    values["cells"] = [cell for cell in values["cells"] if cell["component"] != "os"]
    index.write_text(json.dumps(values))
    ran = deltaseal("matrix", "verify", "RELEASES.toml", "out")
    assert ran.code == 30
    assert "E_BASE: macos-26.3.1/os: the matrix has nothing for it, though it changes" in ran.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('becomes = "app-b"', 'become = "app-b"'), "becomes: this field is missing"),
        (("format = 1", "format = 2"), "format: expected a whole number from 1 to 1"),
        (("macos-26.3.2", "macos-26.3.1"), "bases: macos-26.3.1 stands there twice"),
        (('["Mac17,5"]', '["Mac15,6"]\nmore = 1'), "this field is unknown"),
        (('build = "25D2140"\nmodels = ["Mac17,5"]', 'build = "25D2128"\nmodels = ["Mac16,8"]'), "Mac16,8"),
        (("[[bases]]", "[["), "is not TOML"),
        (('id = "macos-26.3.1"', 'id = "../up"'), "expected a text of the shape"),
    ],
)
def test_wrong_releases_are_wrong_usage(there: Path, change: tuple[str, str], words: str) -> None:
    assert change[0] in RELEASES
    (there / "RELEASES.toml").write_text(RELEASES.replace(*change))
    ran = deltaseal("matrix", "build", "RELEASES.toml", "-o", "out")
    assert ran.code == 2 and words in ran.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--executor", "slurm"], "there is no executor 'slurm'"),
        (["--executor", "dask://127.0.0.1:1", "--jobs", "2"], "are for this machine"),
    ],
)
def test_wrong_executors_are_wrong_usage(there: Path, more: list[str], words: str) -> None:
    ran = deltaseal("matrix", "build", "RELEASES.toml", "-o", "out", *more)
    assert ran.code == 2 and words in ran.err


def test_a_population_of_unknown_bases_is_wrong_usage(there: Path) -> None:
    (there / "POPULATION.toml").write_text(POPULATION.replace("macos-26.3.1", "macos-26.3.9"))
    ran = deltaseal("matrix", "plan", "RELEASES.toml", "--population", "POPULATION.toml")
    assert ran.code == 2 and "no base is called macos-26.3.9" in ran.err


def test_the_display_says_what_runs_and_when_it_ends() -> None:
    shown = Display()
    tasks = [
        Task(name, ((name, ImageJob("", "", Path(), Path(), 500, 500, "default")),), frozenset())
        for name in ("one", "two", "three", "four")
    ]
    shown.planned(tasks, cached=3)
    began = shown._began
    clock = datetime(2026, 3, 17, 10, 0, 0)
    for task in tasks[:2]:
        shown.began(task, "here")
    assert shown.lines(began, clock)[0] == "0 of 4 tasks done, 3 jobs from the cache"
    shown.ended(tasks[0], 1 << 20)
    # One and a half of four in 30 seconds: 50 more.
    lines = shown.lines(began + 30, clock)
    assert lines[0] == "1 of 4 tasks done, 3 jobs from the cache, ends about 10:00:50"
    assert [line.split()[1:] for line in lines[1:]] == [["s", "two"]]
    shown.lost(tasks[1], "gone")
    shown.say("writing the output")
    assert shown.lines(began + 60, clock) == ["writing the output"]
    assert shown.peak == 1 << 20
