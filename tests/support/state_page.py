"""The tables and the diagram of docs/spec/store.md, made from the one state table.

    PYTHONPATH=src:tests python -m support.state_page

writes them into the page, between their marks; a test holds the page against this.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from deltaseal.device.states import RECOVERY, ROWS, Event, Pointer, State

PAGE = Path(__file__).parents[2] / "docs/spec/store.md"

# From nearly everywhere: an arrow for each state would hide all others. Drawn as one note.
_FROM_ALL = (Event.REBASE, Event.NOTHING_GOOD, Event.POINTER_WON)


def rows() -> str:
    """The rows."""
    lines = ["| state | event | action after the record | next | after a crash |", "|---|---|---|---|---|"]
    for row in ROWS:
        cells = (", ".join(row.states), f"`{row.event}`", row.action, ", ".join(row.next), row.after_crash)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def answers() -> str:
    """The answers of recovery."""
    lines = ["| last record | " + " | ".join(Pointer) + " |", "|---|" + "---|" * len(Pointer)]
    for state, pairs in RECOVERY.items():
        lines.append(f"| {state} | " + " | ".join(pairs[pointer].name for pointer in Pointer) + " |")
    return "\n".join(lines)


def diagram() -> str:
    """The rows as a drawing: an arrow for each two states, with the events that lead along it."""
    events: dict[tuple[State, State], list[str]] = defaultdict(list)
    for row in ROWS:
        if row.event not in _FROM_ALL:
            for state in row.states:
                for following in row.next:
                    events[state, following].append(row.event.value)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.BASELINE}: create"]
    lines += [f"    {left} --> {right}: {', '.join(why)}" for (left, right), why in events.items()]
    for event in _FROM_ALL:
        row = next(row for row in ROWS if row.event is event)
        lines += [f"    any_{_word(event)}: nearly any state"]
        lines += [f"    any_{_word(event)} --> {following}: {event.value}" for following in row.next]
    return "\n".join([*lines, "```"])


def _word(event: Event) -> str:
    return event.value.replace("-", "_")


PARTS = {"rows": rows, "answers": answers, "diagram": diagram}


def filled(page: str) -> str:
    """The page with every part made anew."""
    for name, make in PARTS.items():
        marks = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(\n<!-- {name} end -->)", re.DOTALL)
        found = marks.search(page)
        assert found is not None, f"the page has no marks for {name}"
        page = page[: found.end(1)] + make() + page[found.start(2) :]
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
