"""The README begins as it must, and its figures are those of the committed table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deltaseal.lab.bench import sizes
from deltaseal.lab.bench.overview import digest_of

ROOT = Path(__file__).parents[1]


def test_it_begins_with_the_two_commands() -> None:
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.strip()]
    assert lines[0] == "# deltaseal"
    assert lines[1].split()[:2] == ["./dev", "demo"]
    assert lines[2].split()[:2] == ["./dev", "test"]


def test_its_figures_are_those_of_the_table() -> None:
    # Where this fails: .venv/bin/python benchmarks/figures
    made = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "figures"), "--show"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = (ROOT / "README.md").read_text()
    assert f"<!-- figures: begin -->\n{made}<!-- figures: end -->" in text


def test_the_costs_of_each_effort_are_those_of_the_last_run() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "figures"), "--show", "costs"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = (ROOT / "docs" / "bench.md").read_text()
    assert f"<!-- costs: begin -->\n{made}<!-- costs: end -->" in text


def test_its_drawing_is_of_the_same_table() -> None:
    tables = (ROOT / "benchmarks" / "results" / name for name in ("sizes.csv", "sizes-best.csv"))
    digest = digest_of(*(list(sizes.read(table).values()) for table in tables))
    drawing = (ROOT / "docs" / "sizes.svg").read_text()
    assert f"<!-- of {digest} -->" in drawing and len(drawing) < 200_000
