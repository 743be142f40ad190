"""The settings pane of a device as one HTML page that needs nothing but itself: no script, no other file.

What it shows, and why in this order: product definition, section 10. Each part answers one question that a
person has; what a part costs or takes away stands before the command that does it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, Final

from deltaseal.report.history import Entry
from deltaseal.report.status import Applied, Problem, Status, Underway
from deltaseal.report.words import STATE_WORDS, UPDATES_WORDS, moment

__all__ = ["status_page"]

SHOWN: Final = 12  # newest entries of the history that stand open

_PROBLEM_WORDS: Final = {
    "held": "Failed here, and is not tried again by itself",
    "removed": "Removed by a person",
    "withdrawn": "Withdrawn by its vendor",
    "rescued": "Left by the rescue",
    "retry": "Interrupted",
    "damaged": "Damaged",
    "other bytes": "Not as its vendor signed it",
    "policy": "Policy",
}
_HEALTH_WORDS: Final = {
    "good": "It passed its trial on this device.",
    "not checked": "Its trial found nothing to check: no health hook is there, and no listed program ran.",
}

_PENDING_WORDS: Final = {"relaunch": "start those programs again", "restart": "restart the device"}
_WHO: Final = {"device": "this device, by itself", "you": "you, or whoever looks after this device"}

_ONLY_ITSELF: Final = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #f5f5f4; --card: #fff; --ink: #1c1917; --soft: #57534e;
  --line: #e7e5e4; --mark: #1d4ed8; --mark-ink: #fff; --warn: #9a3412; --warn-card: #fff7ed; --bar: #dbeafe; }
@media (prefers-color-scheme: dark) { :root { --paper: #1c1917; --card: #292524; --ink: #f5f5f4;
  --soft: #a8a29e; --line: #44403c; --mark: #93c5fd; --mark-ink: #172554; --warn: #fdba74;
  --warn-card: #431407; --bar: #1e3a8a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1.1rem 1.3rem; margin-top: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; display: flex; gap: .6rem; align-items: center;
  flex-wrap: wrap; }
h2 { font-size: 1rem; margin: 0 0 .5rem; }
p { margin: .35rem 0; }
.soft { color: var(--soft); }
.letter { background: var(--mark); color: var(--mark-ink); border-radius: .5rem; padding: .05rem .55rem; }
.to-do { background: var(--warn-card); border-color: var(--warn); }
.to-do h2 { color: var(--warn); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.bar { height: .6rem; background: var(--bar); border-radius: .3rem; overflow: hidden; margin: .5rem 0; }
.bar div { height: 100%; background: var(--mark); }
code { background: var(--paper); border: 1px solid var(--line); border-radius: .35rem; padding: .1rem .35rem;
  font: .875rem ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
td { padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child td { border-top: 0; }
td:first-child { white-space: nowrap; color: var(--soft); font-variant-numeric: tabular-nums; }
summary { cursor: pointer; padding: .4rem 0; }
li { margin: .25rem 0; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
"""


def status_page(status: Status, history: Sequence[Entry], *, store: str, now: int) -> str:
    """The page. ``store`` is the device's folder, for the commands; ``now`` in seconds since 1970."""
    named = f"--store {shlex.quote(store)}"
    parts = (
        _header(status),
        *_to_do(status),
        *_way(status.underway),
        *_fixes(status),
        *_outstanding(status, named),
        _next(status),
        *_removal(status, named),
        _history(history),
        _about(status),
        _export(named),
    )
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_ONLY_ITSELF}">\n'
        f"<title>Software of this device: {_text(status.name)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f'<body>\n<main>\n{body}\n<p class="soft">As of {moment(now)}, made on the device by deltaseal.</p>\n'
        "</main>\n</body>\n</html>\n"
    )


def _text(words: object) -> str:
    """Words as HTML; what is no visible character is written out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(words))
    return escape(shown, quote=True)


def _section(id: str, title: str, lines: Iterable[str], *, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    inside = "\n".join(lines)
    return f'<section id="{id}"{attribute}>\n<h2>{title}</h2>\n{inside}\n</section>'


def _p(words: object, *, soft: bool = False) -> str:
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(words))
    return f'<p class="soft">{shown}</p>' if soft else f"<p>{shown}</p>"


def _code(command: str) -> str:
    return f"<p><code>{_text(command)}</code></p>"


def _rows(rows: Iterable[tuple[str, object]]) -> str:
    inside = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in rows)
    return f"<dl>{inside}</dl>"


def _header(status: Status) -> str:
    base = status.name.removesuffix(f" ({status.letter})") if status.letter else status.name
    letter = f' <span class="letter">({_text(status.letter)})</span>' if status.letter else ""
    lines = [f"<h1>{_text(base)}{letter}</h1>", _p(_state(status))]
    build = f"Build {status.build}"
    if status.build != status.base_build:
        build += f", an improvement of build {status.base_build}"
    return f'<section id="what">\n{"".join(lines)}{_p(build, soft=True)}\n</section>'


def _state(status: Status) -> str:
    applied = status.applied
    if applied and status.state == "ACTIVE":
        who = "by itself" if applied.by == "automatic" else f"because {applied.by} asked for it"
        since = moment(applied.since)
        return f"Improvement ({applied.letter}) is applied since {since}; it was installed {who}."
    return f"{STATE_WORDS.get(status.state, status.state)}."


def _to_do(status: Status) -> Iterator[str]:
    pending = status.pending
    if pending is None:
        return
    if pending.what == "restart":
        lines = [_p("What was changed last is in use after the next restart of the device.")]
    else:
        lines = [_p("These programs still use what was replaced, until they are started again:")]
        lines += [f"<ul>{''.join(f'<li>{_text(name)}</li>' for name in pending.processes)}</ul>"]
    lines.append(_p("Nothing is restarted by itself: you choose when.", soft=True))
    yield _section("to-do", "To do: " + _text(pending.what), lines, kind="to-do")


def _way(work: Underway | None) -> Iterator[str]:
    if work is None:
        return
    percent = 100 * work.fetched // work.total if work.total else 100
    bar = f'<div class="bar" role="img" aria-label="{percent} %"><div style="width: {percent}%"></div></div>'
    size = f"{work.fetched:,} of {work.total:,} bytes downloaded ({percent} %)"
    yield _section(
        "on-its-way",
        "On its way",
        [_p(f"Improvement ({work.letter}), {work.id}: {work.stage}."), bar, _p(size, soft=True)],
    )


def _fixes(status: Status) -> Iterator[str]:
    applied = status.applied
    if applied is None:
        return
    lines = [line for fix in applied.fixes for line in _fix(fix)] or [
        _p("It names no fixed vulnerabilities.")
    ]
    lines.append(_p(_HEALTH_WORDS.get(applied.health, applied.health), soft=True))
    lines.append(_p(f"{applied.fetched:,} bytes were downloaded for it.", soft=True))
    yield _section("fixes", f"What improvement ({_text(applied.letter)}) fixes", lines)


def _fix(fix: dict[str, Any]) -> Iterator[str]:
    what = fix.get("title") or fix["component"]
    yield f"<p><strong>{_text(what)}</strong> (component {_text(fix['component'])}), {_text(fix['cve'])}</p>"
    for key, words in (("impact", ""), ("cause", "Cause: "), ("credit", "Found by "), ("reference", "")):
        if fix.get(key):
            yield _p(words + fix[key], soft=key != "impact")


def _outstanding(status: Status, named: str) -> Iterator[str]:
    if not status.problems:
        return
    lines = []
    for problem in status.problems:
        kind = _text(_PROBLEM_WORDS.get(problem.kind, problem.kind))
        lines.append(f"<p><strong>{kind}:</strong> {_text(problem.about)}</p>")
        lines.append(_p(problem.sentence + _when(problem), soft=True))
        if problem.kind in ("held", "removed"):
            retry = " --retry" if problem.kind == "held" else ""
            lines.append(_p("To install it all the same, from a folder of offers:", soft=True))
            lines.append(_code(f"deltaseal device install {problem.about}{retry} {named} --source DIR"))
    yield _section("outstanding", "Outstanding", lines, kind="to-do")


def _when(problem: Problem) -> str:
    if not problem.time:
        return ""
    return (
        f" (tried again from {moment(problem.time)})"
        if problem.kind == "retry"
        else f" ({moment(problem.time)})"
    )


def _next(status: Status) -> str:
    what = status.next_step.what
    if status.pending and status.pending.what == what:
        what = _PENDING_WORDS[what]
    return _section(
        "next",
        "What comes next",
        [
            _p(f"{what[:1].upper()}{what[1:]}."),
            _p(f"Decided by: {_WHO.get(status.next_step.who, status.next_step.who)}.", soft=True),
            _p(UPDATES_WORDS.get(status.updates, status.updates), soft=True),
            _p(
                "A vendor lets an improvement out in phases, so other devices may have it earlier or later.",
                soft=True,
            ),
        ],
    )


def _removal(status: Status, named: str) -> Iterator[str]:
    applied: Applied | None = status.applied
    if applied is None:
        return
    cves = ", ".join(fix["cve"] for fix in applied.fixes)
    effect = (
        f"Removing improvement ({applied.letter}) takes the device back to build {status.base_build}, "
        + "byte for byte. "
        + (f"What it fixes is then open again: {cves}. " if cves else "")
        + "It is not installed again by itself; a higher letter is. "
        + "It works without a network and on a full disk."
    )
    yield _section("remove", "Remove", [_p(effect), _code(f"deltaseal device remove {named}")])


def _history(history: Sequence[Entry]) -> str:
    newest = list(reversed(history))
    lines = [_table(newest[:SHOWN])]
    if rest := newest[SHOWN:]:
        lines.append(f"<details><summary>{len(rest):,} earlier entries</summary>{_table(rest)}</details>")
    return _section("history", "History", lines)


def _table(entries: Iterable[Entry]) -> str:
    rows = "".join(f"<tr><td>{moment(one.time)}</td><td>{_text(one.sentence)}</td></tr>" for one in entries)
    return f'<div class="scroll"><table>{rows}</table></div>'


def _about(status: Status) -> str:
    rows: list[tuple[str, object]] = [
        ("Device", status.device),
        ("Model", status.model),
        ("Channel", status.channel),
        ("System", status.name.removesuffix(f" ({status.letter})") if status.letter else status.name),
        ("Base build", status.base_build),
        ("Build", status.build),
        ("For tools that compare", status.numeric),
        ("State", status.state),
    ]
    if status.applied:
        rows += [
            ("Improvement", status.applied.id),
            ("Signed by", f"the release role of {status.os}; permitted by its vendor's personaliser"),
            ("Components", ", ".join(status.applied.components)),
            ("Bundle digest", status.applied.bundle),
            ("Sequence", status.applied.sequence),
        ]
    return _section("about", "About this device", [_rows(rows)])


def _export(named: str) -> str:
    kinds = (
        ("apple", "status items of Apple's device management"),
        ("jamf", "the answer of a Jamf extension attribute"),
        ("intune", "Intune custom compliance"),
        ("openvex", "OpenVEX: which known vulnerabilities are fixed here, and which are not"),
        ("audit", "the whole history, signed by this device"),
    )
    items = "".join(f"<li><code>--as {kind}</code> {_text(words)}</li>" for kind, words in kinds)
    return _section(
        "export", "Export", [_code(f"deltaseal device export {named} --as KIND"), f"<ul>{items}</ul>"]
    )
