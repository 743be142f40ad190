"""The committed tables of sizes as one drawing, for a page in light and in dark. Loads matplotlib."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence

from deltaseal.lab.bench.sizes import Row

__all__ = ["digest_of", "sizes_svg"]

_INK, _FAINT = "#7d8590", "#7d859055"  # greys that can be read on white and on black
_DEFAULT, _BEST = "#2f81f7", "#3fb950"
_ROW = 0.19  # inches


def digest_of(rows: Sequence[Row], modelled: Sequence[Row]) -> str:
    """What a drawing is of, so that an old one is known."""
    return hashlib.sha256(repr([*rows, *modelled]).encode()).hexdigest()


def sizes_svg(rows: Sequence[Row], modelled: Sequence[Row]) -> str:
    """Each pair's delta as a multiple of the best peer's, at effort default and at effort best."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    smallest = {row.pair: row.delta_bytes for row in modelled}
    known = [row for row in rows if row.best_peer_bytes and row.group != "rebuild"]
    known.sort(key=lambda row: row.ratio_to("best") or 0)
    style = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
        "axes.edgecolor": _FAINT,
        "svg.fonttype": "none",
        "svg.hashsalt": "deltaseal",
        "font.size": 9,
        "font.family": "sans-serif",
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(8.2, _ROW * len(known) + 1.2), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        _draw(axes, known, smallest)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", out.getvalue(), flags=re.DOTALL)
    return text.replace("<svg ", f"<!-- of {digest_of(rows, modelled)} -->\n<svg ", 1)


def _draw(axes, known: Sequence[Row], smallest: dict[str, int]) -> None:  # type: ignore[no-untyped-def]
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    places = range(len(known))
    mine = [row.ratio_to("best") or 0 for row in known]
    best = [smallest.get(row.pair, row.delta_bytes) / (row.best_peer_bytes or 1) for row in known]
    axes.hlines(places, best, mine, color=_FAINT, linewidth=2)
    axes.scatter(mine, places, s=22, color=_DEFAULT, label="deltaseal", zorder=3)
    axes.scatter(best, places, s=22, color=_BEST, label="deltaseal, effort best", zorder=3)
    axes.axvline(1, color=_INK, linewidth=1)
    axes.text(1.02, -1.2, "the best peer", color=_INK, fontsize=8, va="center")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(right=1.6)
    axes.set_yticks(places, [f"{row.pair}  {_short(row.best_peer_bytes or 0)}" for row in known])
    axes.set_ylim(len(known) - 0.4, -1.8)
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(
        "bytes of the delta over those of the best peer's; beside each pair the best peer's bytes"
    )
    axes.legend(loc="lower left", frameon=False)


def _short(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB" if size >= 1e4 else f"{size:,} B"
