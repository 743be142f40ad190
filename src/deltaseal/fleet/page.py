"""A fleet as one HTML page that needs nothing but itself: no script, no other file.

Who is still open stands first, since that is what it is for; then how far each improvement has come, with
what is recommended, what failed and why, and what came in that does not count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from deltaseal.fleet.exposure import REASONS, Exposure, exposure_to
from deltaseal.fleet.plot import exposure_plot, legend, protected_plot
from deltaseal.fleet.publisher import Improvement, Publisher
from deltaseal.fleet.recommend import Progress, Recommendation, recommendations
from deltaseal.fleet.store import SILENT_AFTER, Fleet
from deltaseal.manifest import full_name
from deltaseal.report.words import moment

__all__ = ["fleet_page"]

SHOWN: Final = 12  # CVEs that stand open; the rest is folded away

_ONLY_ITSELF: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
:root { color-scheme: light dark; --paper: #f5f5f4; --card: #fff; --ink: #1c1917; --soft: #57534e;
  --line: #e7e5e4; --mark: #1d4ed8; --warn: #9a3412; --warn-card: #fff7ed; --bar: #dbeafe; --open: #fdba74; }
@media (prefers-color-scheme: dark) { :root { --paper: #1c1917; --card: #292524; --ink: #f5f5f4;
  --soft: #a8a29e; --line: #44403c; --mark: #93c5fd; --warn: #fdba74; --warn-card: #431407; --bar: #1e3a8a;
  --open: #9a3412; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1.1rem 1.3rem; margin-top: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
h3 { font-size: .95rem; margin: 1rem 0 .3rem; }
p { margin: .35rem 0; }
.soft { color: var(--soft); }
.big { font-size: 2rem; line-height: 1.1; font-weight: 600; }
.to-do { background: var(--warn-card); border-color: var(--warn); }
.two { display: grid; grid-template-columns: 3fr 2fr; gap: 1.2rem; align-items: start; }
svg { width: 100%; height: auto; display: block; }
.bar { display: flex; height: .7rem; border-radius: .35rem; overflow: hidden; margin: .5rem 0;
  background: var(--bar); }
.bar .done { background: var(--mark); }
.bar .bad { background: var(--open); }
.legend span { display: inline-block; margin-right: 1rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; }
.scroll { overflow-x: auto; }
.scroll + .scroll { margin-top: .8rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .8rem .3rem 0; border-top: 1px solid var(--line); text-align: left;
  vertical-align: top; font-weight: normal; }
th { color: var(--soft); border-top: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
summary { cursor: pointer; padding: .4rem 0; }
@media (max-width: 40rem) { .two { grid-template-columns: 1fr; } main { padding: 1rem .6rem; }
  svg { overflow: visible; } svg text { font-size: 20px; } }
"""


def fleet_page(fleet: Fleet, publisher: Publisher, *, now: int) -> str:
    """The page."""
    found = recommendations(fleet, publisher, now=now)
    cves = sorted({cve for one in publisher.improvements.values() for cve in one.listed.cves})
    exposures = sorted((exposure_to(fleet, publisher, cve, now=now) for cve in cves), key=lambda e: -e.open)
    parts = [
        _head(fleet, now),
        *_to_do(found),
        *(_exposure(one) for one in exposures[:SHOWN]),
        *_more(exposures[SHOWN:]),
        *(_base(publisher, key, of) for key, of in _by_base(publisher, found).items()),
        *_holds(fleet),
        *_refused(fleet, now),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_ONLY_ITSELF}">\n'
        f"<title>Fleet: who is still exposed</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n"
        f'<p class="soft">As of {moment(now)}, by reports that enrolled devices signed themselves. '
        "What says nothing counts as open.</p>\n</main>\n</body>\n</html>\n"
    )


def _text(words: object) -> str:
    """Words as HTML; what is no visible character is written out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(words))
    return escape(shown, quote=True)


def _section(title: str, lines: Iterable[str], *, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<section{attribute}>\n<h2>{_text(title)}</h2>\n" + "\n".join(lines) + "\n</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand right."""
    lines = list(rows)
    numbers = [isinstance(value, int) for value in lines[0]] if lines else [False] * len(head)
    marks = [' class="n"' if number else "" for number in numbers]
    top = "".join(f"<th{mark}>{_text(name)}</th>" for name, mark in zip(head, marks, strict=True))
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in lines)
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _cell(value: object) -> str:
    return f'<td class="n">{value:,}</td>' if isinstance(value, int) else f"<td>{_text(value)}</td>"


def _bar(done: int, bad: int, whole: int) -> str:
    if not whole:
        return ""
    good, failed = 100 * done / whole, 100 * bad / whole
    words = f"{done:,} of {whole:,}"
    return (
        f'<div class="bar" role="img" aria-label="{words}"><div class="done" style="width:{good:.2f}%"></div>'
        f'<div class="bad" style="width:{failed:.2f}%"></div></div>'
    )


def _head(fleet: Fleet, now: int) -> str:
    (devices,) = fleet.one("SELECT count(*) FROM devices") or (0,)
    (heard,) = fleet.one("SELECT count(*) FROM devices WHERE heard > ?", (now - SILENT_AFTER,)) or (0,)
    words = f"{devices:,} enrolled devices, {heard:,} heard of in the last three days"
    return f'<header><h1>Who is still exposed</h1><p class="soft">{words}</p></header>'


def _to_do(found: Sequence[tuple[Progress, Recommendation]]) -> Iterator[str]:
    urgent = [one for _, one in found if one.what in ("pause", "decide", "advance")]
    if urgent:
        words = {"pause": "Pause", "decide": "Decide about", "advance": "Advance"}
        lines = []
        for one in sorted(urgent, key=lambda each: each.what != "pause"):
            to = f" to {one.phase / 100:g} %" if one.what == "advance" else ""
            lines.append(
                f"<p><strong>{words[one.what]} {_text(one.id)}{to}</strong>: {_text(one.sentence)}</p>"
            )
        yield _section("For a person to decide", lines, kind="to-do")


def _exposure(found: Exposure) -> str:
    share = 100 * found.open / found.total if found.total else 0
    lines = [
        '<div class="two"><div>',
        f'<p><span class="big">{found.open:,}</span> of {found.total:,} open ({share:.1f} %)</p>',
        _bar(found.total - found.open, 0, found.total),
        *_over_time(found),
    ]
    if found.published:
        times = []
        for percent, seconds in found.until.items():
            times.append(f"{percent} %: {'not yet' if seconds is None else _duration(seconds)}")
        lines.append(
            f'<p class="soft">Published {moment(found.published)}. Protected: {_text("; ".join(times))}.</p>'
        )
    if found.waiting:
        lines.append(
            f'<p class="soft">{found.waiting:,} of the protected still run a program with old code.</p>'
        )
    lines.append("</div><div>")
    rows = [(f"{reason}: {REASONS[reason]}", count) for reason, count in found.reasons.items()]
    lines.append(_table(("why they are open", ""), rows) if rows else "<p>Nobody is open to it.</p>")
    bases = [(f"{base.name} {base.build}".strip(), base.open, base.total) for base in found.bases]
    lines.append(_table(("base", "open", "of"), bases))
    lines.append("</div></div>")
    return _section(found.cve, lines)


def _over_time(found: Exposure) -> Iterator[str]:
    if found.days:
        names = "".join(
            f'<span><i style="background:{colour}"></i>{_text(name)}</span>' for colour, name in legend(found)
        )
        yield f"<h3>Protected</h3>{protected_plot(found)}"
        yield f'<h3>Open, by reason</h3>{exposure_plot(found)}<p class="legend soft">{names}</p>'


def _more(rest: Sequence[Exposure]) -> Iterator[str]:
    if rest:
        rows = [(one.cve, one.open, one.total) for one in rest]
        table = _table(("CVE", "open", "of"), rows)
        yield _section("More", [f"<details><summary>{len(rest):,} more CVEs</summary>{table}</details>"])


def _by_base(
    publisher: Publisher, found: Sequence[tuple[Progress, Recommendation]]
) -> dict[tuple[str, str], list[tuple[Progress, Recommendation]]]:
    groups: dict[tuple[str, str], list[tuple[Progress, Recommendation]]] = {}
    for progress, advice in found:
        one = publisher.improvements[progress.id]
        groups.setdefault((one.os, one.listed.base_build), []).append((progress, advice))
    return groups


def _base(
    publisher: Publisher, key: tuple[str, str], found: Sequence[tuple[Progress, Recommendation]]
) -> str:
    os, build = key
    lines = []
    for progress, advice in found:
        one = publisher.improvements[progress.id]
        lines.append(f"<h3>({_text(one.listed.letter)}) {_text(one.listed.id)}</h3>")
        lines.append(f"<p>{_text(_stands(one))}</p>")
        lines.append(_bar(progress.active, progress.held, progress.fitting))
        counts = (
            ("fit", progress.fitting),
            ("in", progress.reached),
            ("active", progress.active),
            ("under way", progress.under_way),
            ("failed, held", progress.held),
            ("removed", progress.removed),
            ("silent", progress.silent),
        )
        lines.append(_table([name for name, _ in counts], [[count for _, count in counts]]))
        lines.append(f'<p class="soft">{_text(advice.sentence[:1].upper() + advice.sentence[1:])}.</p>')
    version = publisher.improvements[found[0][0].id].version
    return _section(f"Improvements of {full_name(os, version)}, build {build}", lines)


def _stands(one: Improvement) -> str:
    closes = f"closes {', '.join(one.listed.cves)}" if one.listed.cves else "closes no named hole"
    move = one.now
    if one.action:
        return f"Withdrawn with {one.action}; {closes}."
    if move is None:
        return f"Not offered; {closes}."
    paused = ", paused" if move.paused else ""
    return f"Phase {move.phase / 100:g} % of {move.channel}{paused}; {closes}."


def _holds(fleet: Fleet) -> Iterator[str]:
    counts: Counter[tuple[str, str]] = Counter()
    for (holds,) in fleet.rows("SELECT holds FROM devices WHERE holds != '{}'"):
        counts.update(json.loads(holds).items())
    if counts:
        rows = [(id, reason, count) for (id, reason), count in counts.most_common()]
        yield _section(
            "Failed on devices, and held there", [_table(("improvement", "reason", "devices"), rows)]
        )


def _refused(fleet: Fleet, now: int) -> Iterator[str]:
    query = (
        "SELECT reason, sum(count), max(sentence) FROM refusals WHERE day > ? GROUP BY reason ORDER BY 2 DESC"
    )
    rows = list(fleet.rows(query, (now // 86_400 - 7,)))
    if rows:
        words = "In the last seven days. They count nothing. A forged or copied key shows here."
        table = _table(("reason", "reports", "the last of them"), rows)
        yield _section("Reports that were refused", [table, f'<p class="soft">{words}</p>'])


def _duration(seconds: int) -> str:
    return f"{seconds / 3_600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} days"
