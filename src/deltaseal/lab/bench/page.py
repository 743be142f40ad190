"""A run as one page that is whole in itself: plots, every table, and what it was made on. Loads jinja2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltaseal.errors import UsageError
from deltaseal.lab.bench.result import Result
from deltaseal.lab.bench.summary import METRICS, mean_ratio, pair_ratio
from deltaseal.lab.bench.tables import figure, is_best

__all__ = ["page"]

_TEMPLATE = Path(__file__).with_name("page.html.j2")


def page(result: Result) -> str:
    """The page as HTML. Raises UsageError where matplotlib or jinja2 is not installed."""
    try:
        from jinja2 import Environment, StrictUndefined

        from deltaseal.lab.bench.plots import svg_plots

        plots = svg_plots(result)
    except ImportError as error:
        raise UsageError(f"pages need {error.name}", hint="pip install 'deltaseal[bench]'") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text())
    return template.render(
        result=result,
        mine=result.tools[0],
        plots=plots,
        columns=[f"{m.name}, {m.unit}" for m in METRICS.values()],
        means=_means(result),
        pairs=[_pair(result, name) for name in result.pairs],
    )


def _means(result: Result) -> list[dict[str, Any]]:
    rows = []
    for tool in result.tools[1:]:
        ratios = [mean_ratio(result, result.tools[0], tool, metric) for metric in METRICS.values()]
        rows.append({"tool": tool, "pairs": ratios[0].count if ratios[0] else 0, "ratios": ratios})
    return rows


def _pair(result: Result, name: str) -> dict[str, Any]:
    records = [record for record in result.records if record.pair == name]
    mine = result.good(name, result.tools[0])
    rows = []
    for record in records:
        cells = [
            {
                "text": figure(record, metric),
                "best": is_best(record, records, metric),
                "ratio": pair_ratio(mine, record, metric) if mine and mine is not record else None,
            }
            for metric in METRICS.values()
        ]
        rows.append({"record": record, "cells": cells})
    return {"name": name, "first": records[0], "rows": rows}
