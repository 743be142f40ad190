"""Plots of a run, as SVG for a page and as one PNG for a pull request. The only module that loads matplotlib.

A page's plots take their ink from the page: two colours stand for "the text's" and "a faint line's" and are
replaced by what CSS calls them, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deltaseal.lab.bench.result import Result
from deltaseal.lab.bench.summary import METRICS, Metric, mean_ratio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["overview_png", "svg_plots"]

_INK, _FAINT = "#010203", "#040506"
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#999999", "#b8a800", "#7f4fc9")
_MARKERS = "osD^vP*Xh"
_ROW = 0.26  # inches for a pair
_WIDTH = 9.0


def _style(*, page: bool) -> dict[str, Any]:
    ink, faint = (_INK, _FAINT) if page else ("#222222", "#dddddd")
    return {
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), ink
        ),
        "grid.color": faint,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "figure.facecolor": "none" if page else "white",
        "axes.facecolor": "none",
        "legend.frameon": False,
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "deltaseal",
    }


def svg_plots(result: Result) -> dict[str, str]:
    """Name to SVG text, each ready to stand inside a page: ``bytes``, ``time``, ``memory``, ``means``."""
    import matplotlib as mpl

    with mpl.rc_context(_style(page=True)):
        return {name: _svg(figure, name) for name, figure in _figures(result)}


def overview_png(result: Result) -> bytes:
    """Bytes by pair and means in one picture."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_style(page=False)):
        size = (11, max(3.6, _ROW * len(result.pairs) + 1.6))
        figure = Figure(figsize=size, layout="constrained")
        if len(result.tools) > 1:
            left, right = figure.subplots(1, 2, width_ratios=(3, 2))
            _draw_means(right, result)
        else:
            left = figure.subplots()
        _draw_bytes(left, result)
        figure.supxlabel(_made_on(result), x=0.99, ha="right", fontsize=7, color="#666666")
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
        return out.getvalue()


def _made_on(result: Result) -> str:
    facts = [f"{name} {result.machine[name]}" for name in ("deltaseal", "commit") if name in result.machine]
    return ", ".join(
        [f"geometric means over {len(result.pairs)} pairs", result.machine.get("processor", ""), *facts]
    )


def _figures(result: Result) -> Iterator[tuple[str, Figure]]:
    from matplotlib.figure import Figure

    tall = max(2.2, _ROW * len(result.pairs) + 1.5)
    figure = Figure(figsize=(_WIDTH, tall), layout="constrained")
    _draw_bytes(figure.subplots(), result)
    yield "bytes", figure
    figure = Figure(figsize=(_WIDTH, 4.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("create", "apply"), strict=True):
        _draw_time(axes, result, METRICS[name], with_legend=name == "create")
    yield "time", figure
    figure = Figure(figsize=(_WIDTH, tall), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), ("create-memory", "apply-memory"), strict=True):
        _draw_dots(axes, result, METRICS[name], f"{METRICS[name].name}: peak memory, MiB")
    yield "memory", figure
    if len(result.tools) > 1:
        figure = Figure(figsize=(_WIDTH, 0.55 * len(result.tools) + 1.6), layout="constrained")
        _draw_means(figure.subplots(), result)
        yield "means", figure


def _look(result: Result, tool: str) -> dict[str, Any]:
    place = result.tools.index(tool)
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "zorder": 4 if place == 0 else 3,
    }


# ---- drawings ----------------------------------------------------------------------------------


def _draw_dots(axes: Axes, result: Result, metric: Metric, label: str) -> None:
    """A row for each pair, a mark for each tool, on a logarithmic axis."""
    for tool in result.tools:
        points = [
            (metric.value(r), y) for y, pair in enumerate(result.pairs) if (r := result.good(pair, tool))
        ]
        if points:
            xs, ys = zip(*points, strict=True)
            axes.scatter(xs, ys, s=30, label=tool, **_look(result, tool))
    axes.set_xscale("log")
    _logarithmic(axes.xaxis)
    axes.set_yticks(range(len(result.pairs)), result.pairs)
    axes.set_ylim(len(result.pairs) - 0.4, -0.6)
    axes.set_xlabel(label)


def _draw_bytes(axes: Axes, result: Result) -> None:
    _draw_dots(axes, result, METRICS["bytes"], "bytes of the delta (logarithmic)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, fontsize=9, handletextpad=0.2)


def _draw_time(axes: Axes, result: Result, metric: Metric, *, with_legend: bool) -> None:
    """Seconds against bytes as a share of the new image: small marks are pairs, a large one their means."""
    for tool in result.tools:
        records = [r for pair in result.pairs if (r := result.good(pair, tool)) and r.new_bytes]
        points = [(max(metric.value(r), metric.least), 100 * r.delta_bytes / r.new_bytes) for r in records]
        if not points:
            continue
        look = _look(result, tool)
        xs, ys = zip(*points, strict=True)
        axes.scatter(xs, ys, s=14, alpha=0.45, linewidths=0, **look)
        x, y = statistics.geometric_mean(xs), statistics.geometric_mean(ys)
        axes.scatter([x], [y], s=110, label=tool, edgecolors=_INK, linewidths=0.8, **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _logarithmic(axes.xaxis)
    _logarithmic(axes.yaxis)
    axes.set_xlabel(f"{metric.name}: processor seconds")
    if with_legend:
        axes.set_ylabel("delta, % of the new image")
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, fontsize=9, markerscale=0.7, handletextpad=0.2
        )


def _draw_means(axes: Axes, result: Result) -> None:
    """What each peer needs as a multiple of ours, geometric means over the pairs that both could do."""
    mine = result.tools[0]
    peers = [tool for tool in result.tools[1:] if mean_ratio(result, mine, tool, METRICS["bytes"])]
    for row, name in enumerate(METRICS):
        metric = METRICS[name]
        offset = (row - (len(METRICS) - 1) / 2) * 0.16
        for y, tool in enumerate(peers):
            ratio = mean_ratio(result, mine, tool, metric)
            if ratio is None:
                continue
            label = f"{metric.name}, {metric.unit}" if y == 0 else None
            axes.barh(y + offset, 1 / ratio.value - 1, left=1, height=0.15, color=_COLOURS[row], label=label)
            if name == "bytes":
                end = max(1.0, 1 / ratio.value)
                axes.annotate(f" {1 / ratio.value:.1f}×", (end, y + offset), va="center", fontsize=8)
    axes.set_xscale("log")
    _logarithmic(axes.xaxis)
    axes.axvline(1, color=_INK if axes.get_facecolor()[3] == 0 else "#222222", linewidth=1)
    axes.set_yticks(range(len(peers)), peers)
    axes.set_ylim(len(peers) - 0.4, -0.6)
    axes.set_xlabel(f"times {mine}'s; right of 1 the peer needs more")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=8)


def _logarithmic(axis: Any) -> None:
    """A logarithmic axis with numbers as people write them, and more of them where it spans little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high < 40 * low else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=steps))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))


# ---- SVG ---------------------------------------------------------------------------------------


def _svg(figure: Figure, name: str) -> str:
    """The drawing without its file's head; sizes left to the page, ids made the plot's own."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    return text.replace(_INK, "currentColor").replace(_FAINT, "var(--line)")
