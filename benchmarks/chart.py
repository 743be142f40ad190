"""The chart of docs/how-deltas-get-small.md: bytes of real pairs, from the committed tables of sizes.

.venv/bin/python benchmarks/chart.py    # draw it again; the site always does
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

__all__ = ["sizes"]

RESULTS = Path(__file__).parent / "results"
SHOWN = ("libcrypto", "libxml2", "libc-arm64", "lxml", "cryptography", "javascriptcore", "libnode", "webkit")
BARS = (
    ("whole image", "#b0bec5"),
    ("best peer", "#78909c"),
    ("deltaseal", "#26a69a"),
    ("effort best", "#00695c"),
)
LEFT, WIDTH, BAR, GAP, TOP = 120, 560, 11, 16, 40
DECADES = range(2, 9)  # of bytes: 100 to 100,000,000


def sizes() -> str:
    """An SVG picture with a logarithmic scale of bytes."""
    rows, best = _table("sizes.csv"), _table("sizes-best.csv")
    names = [name for name in SHOWN if name in rows]
    height = TOP + len(names) * (len(BARS) * BAR + GAP) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 90} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="100%" height="100%" rx="6" fill="#fafafa"/><g fill="#37474f">{_legend()}</g>',
    ]
    for decade in DECADES:
        x = _x(10**decade)
        parts.append(f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{height - 20}" stroke="#e0e0e0"/>')
        parts.append(
            f'<text x="{x}" y="{height - 6}" text-anchor="middle" fill="#607d8b">{10**decade:,}</text>'
        )
    y = TOP
    for name in names:
        row = rows[name]
        values = [int(row["new_bytes"]), int(row["best_peer_bytes"]), int(row["delta_bytes"])]
        values += [int(best[name]["delta_bytes"])] if name in best else []
        middle = y + len(BARS) * BAR / 2 + 4
        parts.append(f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end" fill="#263238">{name}</text>')
        for value, (_, colour) in zip(values, BARS, strict=False):
            wide = _x(value) - LEFT
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{wide}" height="{BAR - 1}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + wide + 4}" y="{y + BAR - 2}" fill="#455a64">{value:,}</text>')
            y += BAR
        y += GAP
    return "\n".join([*parts, "</svg>\n"])


def _legend() -> str:
    return "".join(
        f'<rect x="{LEFT + 130 * n}" y="12" width="11" height="11" fill="{colour}"/>'
        f'<text x="{LEFT + 130 * n + 16}" y="22">{name}</text>'
        for n, (name, colour) in enumerate(BARS)
    )


def _x(bytes_: int) -> float:
    span = DECADES[-1] - DECADES[0]
    return round(LEFT + WIDTH * (math.log10(max(bytes_, 100)) - DECADES[0]) / span, 1)


def _table(name: str) -> dict[str, dict[str, str]]:
    with open(RESULTS / name, newline="") as file:
        return {row["pair"]: row for row in csv.DictReader(file)}


if __name__ == "__main__":
    (RESULTS.parents[1] / "docs" / "pictures" / "sizes.svg").write_text(sizes())
