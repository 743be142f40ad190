"""``deltaseal bench`` by hand: words, files, exit codes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("deltaseal")), "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.bin", tmp_path / "new.bin"
    old.write_bytes(bytes(range(256)) * 200)
    new.write_bytes(bytes(range(256)) * 100 + b"in between" + bytes(range(256)) * 100)
    return old, new


def test_two_files_beside_a_peer(sides: tuple[Path, Path], tmp_path: Path) -> None:
    files = {kind: tmp_path / f"run.{kind}" for kind in ("json", "csv", "html", "png")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    done = bench(
        *sides, "--against", "bsdiff4", "--effort", "default", "--effort", "best", "--repeats", "2", *options
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(files["json"].read_text())
    assert [record["tool"] for record in value["records"]] == ["deltaseal", "deltaseal-best", "bsdiff4"]
    assert all(len(record["creates"]) == 2 and record["failure"] == "" for record in value["records"])
    assert value["machine"]["processor"] in done.stdout and value["versions"]["bsdiff4"]
    assert [row["peer"] for row in csv.DictReader(files["csv"].open())] == [
        "deltaseal",
        "deltaseal-best",
        "bsdiff4",
    ]
    assert (
        files["html"].read_text().startswith("<!doctype html>")
        and files["png"].read_bytes()[:4] == b"\x89PNG"
    )
    assert "deltaseal/its" in done.stdout
    refused = bench(*sides, "--against", "none", "--json", files["json"])
    assert refused.returncode == 2 and "exists" in refused.stderr and not refused.stdout


def test_a_peer_that_gives_other_bytes_is_named_and_not_counted(
    sides: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "tools.toml").write_text(
        """
        [[tool]]
        name = "liar"
        create = ["sh", "-c", 'echo "$2" >"$3"', "sh", "{old}", "{new}", "{delta}"]
        apply = ["sh", "-c", 'cp "$1" "$2"', "sh", "{old}", "{new}", "{delta}"]
        """
    )
    run = tmp_path / "run.json"
    done = bench(*sides, "--tools", tmp_path / "tools.toml", "--against", "liar", "--json", run)
    assert done.returncode == 30 and "liar: apply: the result is not the new side" in done.stderr
    mine = next(line for line in done.stdout.splitlines() if line.startswith("deltaseal "))
    assert mine.split()[1].endswith("*")  # the least bytes among those that count
    assert "geometric" not in done.stdout and json.loads(run.read_text())["records"][1]["failure"]


def test_growth_past_the_limit_exits_30(sides: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = sides
    run = tmp_path / "run.json"
    assert bench(old, new, "--against", "none", "--json", run).returncode == 0
    assert bench(old, new, "--against", "none", "--compare", run).returncode == 0
    value = json.loads(run.read_text())
    value["records"][0]["delta_bytes"] -= 10
    run.write_text(json.dumps(value))
    done = bench(old, new, "--against", "none", "--compare", run)
    assert done.returncode == 30 and "grew from" in done.stdout and "the limit is 0 %" in done.stderr
    assert bench(old, new, "--against", "none", "--compare", run, "--limit", "bytes=90").returncode == 0


def test_a_corpus_of_ones_own_is_fetched(sides: tuple[Path, Path], tmp_path: Path) -> None:
    import hashlib

    lines = ['[[pair]]\nname = "mine"\nsource = "url"']
    for side, path in zip(("old", "new"), sides, strict=True):
        data = path.read_bytes()
        lines.append(f'{side} = "{path.as_uri()}"\n{side}_bytes = {len(data)}')
        lines.append(f'{side}_sha256 = "{hashlib.sha256(data).hexdigest()}"')
    (tmp_path / "corpus.toml").write_text("\n".join(lines))
    place = ["--corpus", tmp_path / "corpus.toml", "--into", tmp_path / "corpus", "--against", "none"]
    done = bench(*place)
    assert done.returncode == 0 and "mine: 51,200 bytes old" in done.stdout
    assert "fetching 1 pair into" in done.stderr and "fetching" not in bench(*place, "mine").stderr
    assert bench(*place, "nobody").returncode == 2
    text = (tmp_path / "corpus.toml").read_text()
    bent = text.replace('"mine"', '"bent"').replace(hashlib.sha256(data).hexdigest(), 64 * "0")
    (tmp_path / "corpus.toml").write_text(text + "\n" + bent)
    done = bench(*place)
    assert done.returncode == 30 and "mine: 51,200 bytes old" in done.stdout
    assert f"the list has {64 * '0'}" in done.stderr
    assert bench(*place, "bent").returncode == 16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "needs OLD and NEW"),
        (("a",), "needs OLD and NEW"),
        (("no-such", "file"), "there is no no-such"),
        (("--corpus", "none.toml"), "cannot read none.toml"),
        (("a", "b", "--against", "nobody"), "no such peer: nobody"),
        (("a", "b", "--limit", "size=1"), "no limit such as bytes=0.5"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2 and words in done.stderr
