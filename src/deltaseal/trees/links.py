"""Where links lead (docs/spec/tree.md, section 2, rule 4).

A link is judged by its text alone: ``..`` steps first, then names. So every
link that stays inside starts from a directory of the tree and only goes down,
or on through another link; what it reaches is outside only if one of those is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from deltaseal.trees.paths import parent_of

__all__ = ["leaving_links"]


def leaving_links(links: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the paths of those links (path to target) that do not stay inside their tree, in given order."""
    walk = _Walk(links)
    return [path for path in links if walk.end_of(path) is None]


class _Walk:
    """Follows links by their text, each once."""

    def __init__(self, links: Mapping[bytes, bytes]) -> None:
        self._links = links
        self._ends: dict[bytes, bytes | None] = {}  # link to the path at its end; None: outside

    def end_of(self, link: bytes) -> bytes | None:
        """Return the path that ``link`` comes to, ``None`` if it leaves the tree.

        A circle leads nowhere, so inside: it ends where it closes. A pile instead of recursion,
        since foreign chains may be long.
        """
        pile = {link: self._follow(link)}
        answer: bytes | None = None
        while pile:
            current = next(reversed(pile))
            try:
                wanted = pile[current].send(answer)
            except StopIteration as done:
                answer = self._ends[current] = done.value
                del pile[current]
                continue
            answer = None  # what a generator that has not begun must be sent
            if wanted in self._ends:
                answer = self._ends[wanted]
            elif wanted in pile:
                answer = wanted
            else:
                pile[wanted] = self._follow(wanted)
        return self._ends[link]

    def _follow(self, link: bytes) -> Generator[bytes, bytes | None, bytes | None]:
        """Yield each link on the way of ``link``, be sent where that one ends, return where this one does."""
        start = _start(parent_of(link), self._links[link])
        if start is None:
            return None
        at, names = start
        for name in names:
            step = at + b"/" + name if at else name
            end = (yield step) if step in self._links else step
            if end is None:
                return None
            at = end
        return at


def _start(directory: bytes, target: bytes) -> tuple[bytes, Iterator[bytes]] | None:
    """Take the leading ``..`` steps; return where they end and the names that follow, ``None`` if outside."""
    if target.startswith(b"/"):
        return None
    steps = [step for step in target.split(b"/") if step not in (b"", b".")]
    climbs = 0
    while climbs < len(steps) and steps[climbs] == b"..":
        climbs += 1
    above = directory.split(b"/") if directory else []
    if climbs > len(above) or b".." in steps[climbs:]:
        return None
    return b"/".join(above[: len(above) - climbs]), iter(steps[climbs:])
