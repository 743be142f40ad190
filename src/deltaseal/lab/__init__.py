"""For engineers: measures deltaseal beside its peers. Uses the public commands and faces only."""

from __future__ import annotations

from deltaseal.lab.bench import run
from deltaseal.lab.corpus import Pair, load_pairs, recorded_sizes, select
from deltaseal.lab.peers import Tool, ours, peers
from deltaseal.lab.process import Run, Usage, measure
from deltaseal.lab.record import Record

__all__ = [
    "Pair",
    "Record",
    "Run",
    "Tool",
    "Usage",
    "load_pairs",
    "measure",
    "ours",
    "peers",
    "recorded_sizes",
    "run",
    "select",
]
