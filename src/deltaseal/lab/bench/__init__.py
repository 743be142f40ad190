"""The measuring runner: deltas of ours and of its peers, side by side, with what they take.

One runner serves ``deltaseal bench``, ``./dev bench`` and the tests. ``run`` measures; tables, pages and
comparisons are made from its records alone.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal.lab.bench.corpus import Pair, load_pairs, recorded_sizes, select
    from deltaseal.lab.bench.process import Run, Usage, measure
    from deltaseal.lab.bench.record import Record
    from deltaseal.lab.bench.runner import run
    from deltaseal.lab.bench.tools import Tool, ours, peers

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

__getattr__ = names_from(
    __name__,
    homes_in(
        __name__,
        {
            "corpus": ("Pair", "load_pairs", "recorded_sizes", "select"),
            "process": ("Run", "Usage", "measure"),
            "record": ("Record",),
            "runner": ("run",),
            "tools": ("Tool", "ours", "peers"),
        },
    ),
)
