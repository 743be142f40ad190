"""An explanation as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from deltaseal.lab.bench.export import columns
from deltaseal.lab.explain.names import readable
from deltaseal.lab.explain.report import Explanation, FunctionCost

__all__ = ["TOP", "explanation_lines"]

TOP = 20  # functions that are shown
_ROWS = 15  # of every other table


def explanation_lines(found: Explanation, *, every: bool = False) -> list[str]:
    """The account: by kind, section, stream, file, and the costliest functions; ``every`` leaves none out."""
    lines = [
        f"{found.size:,} bytes, {_percent(found.size, found.new_size)} of the new side's {found.new_size:,}"
    ]
    if not found.complete:
        lines += [f"note: {note}" for note in found.notes]
    tables = {"kind": found.by(lambda s: s.kind)} if found.complete else {}
    if found.kind == "tree delta":
        tables["file"] = found.by(lambda s: s.file or s.section)
    if found.complete:
        tables["section"] = found.by(lambda s: s.section)
    tables["stream"] = found.by(lambda s: s.stream)
    for name, sums in tables.items():
        lines += ["", *_table(name, sums, found.size, every=every)]
    if found.functions:
        lines += ["", *_functions(found, every=every)]
    return lines


def _table(name: str, sums: Mapping[str, int], size: int, *, every: bool) -> Iterator[str]:
    rows = list(sums.items())
    shown = rows if every else rows[:_ROWS]
    body = [(key, f"{count:,}", _percent(count, size)) for key, count in shown]
    rest = sum(count for _, count in rows[len(shown) :])
    if rest:
        body.append((f"({len(rows) - len(shown)} more)", f"{rest:,}", _percent(rest, size)))
    body.append(("all", f"{size:,}", ""))
    yield from columns((f"by {name}", "bytes", ""), body, left={0})


def _functions(found: Explanation, *, every: bool) -> Iterator[str]:
    shown = found.functions if every else found.largest(TOP)
    has_files = any(function.file for function in found.functions)
    head = (
        "bytes",
        "what",
        "old size",
        "new size",
        "not copied",
        "function",
        *(("file",) if has_files else ()),
    )
    body = [_function_cells(function, has_files=has_files, every=every) for function in shown]
    yield from columns(head, body, left={1, 5, 6})
    yield ""
    counts = Counter(function.change for function in found.functions)
    sums: Counter[str] = Counter()
    for function in found.functions:
        sums[function.change] += function.bytes
    words = ", ".join(
        f"{counts[c]:,} {c} ({sums[c]:,} bytes)" for c in ("changed", "new", "moved") if counts[c]
    )
    yield f"functions that cost anything: {words}"


def _function_cells(function: FunctionCost, *, has_files: bool, every: bool) -> tuple[str, ...]:
    return (
        f"{function.bytes:,}",
        function.change if function.change != "moved" else "only moved",
        "–" if function.old_size is None else f"{function.old_size:,}",
        f"{function.new_size:,}",
        f"{function.literal_bytes:,}",
        function.name if every else readable(function.name),
        *((function.file,) if has_files else ()),
    )


def _percent(part: int, whole: int) -> str:
    if not whole:
        return ""
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"
