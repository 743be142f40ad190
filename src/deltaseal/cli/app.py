"""What the commands share: the edge of the process, how to speak, and how to report."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from deltaseal.edge import Edge

__all__ = ["FORMAT", "App", "EndedBySignal", "is_terminal", "pass_app", "printable"]

FORMAT = 1  # of every JSON object that the command line prints


def _system_edge() -> Edge:
    from deltaseal.edge import system_edge

    return system_edge()


@dataclass(slots=True)
class App:
    """One run of the command. Tests pass an edge of their own in as click's ``obj``."""

    make_edge: Callable[[], Edge] = field(default=_system_edge)
    debug: bool = False
    wordy: bool | None = None  # about success: asked for, asked not to, or only to a person at a terminal
    json: bool = False
    _edge: Edge | None = None

    @property
    def edge(self) -> Edge:
        """Clock, randomness, identity and power, made when first asked for."""
        if self._edge is None:
            self._edge = self.make_edge()
        return self._edge

    @property
    def now(self) -> int:
        """The time that counts for judging documents: never before this program was released (R9)."""
        return max(self.edge.now(), self.edge.build_date)

    def say(self, words: str) -> None:
        """Words for people, on standard error."""
        click.echo(printable(words), err=True)

    def report(self, values: dict[str, Any], lines: Callable[[], list[str]]) -> None:
        """What was asked for, on standard output: one JSON object with ``--json``, else lines."""
        if self.json:
            self.put_json(values)
            return
        for line in lines():
            click.echo(printable(line))

    def report_line(self, values: dict[str, Any], line: str) -> None:
        """One of many things, on standard output at once: one line of JSON with ``--json``, else of words."""
        text = json.dumps(values, ensure_ascii=True, sort_keys=True) if self.json else printable(line)
        click.echo(text)

    def put_json(self, values: dict[str, Any]) -> None:
        """One JSON object on standard output, with the version of its form."""
        click.echo(json.dumps({"format": FORMAT, **values}, ensure_ascii=True, indent=2, sort_keys=True))

    def done(self, values: dict[str, Any], words: str, *, news: bool = False) -> None:
        """Something was written: its values with ``--json``; words to a person, or to who asked for them.

        ``news`` is said to all but those who asked for silence: that there was nothing to do, and why.
        """
        if self.json:
            self.put_json(values)
        elif news or is_terminal() if self.wordy is None else self.wordy:
            self.say(words)


class EndedBySignal(BaseException):
    """A signal asked us to end: what is half made is cleaned up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.name = signal.Signals(number).name
        self.words = f"ended by {self.name}; nothing half made is left"


def printable(text: str) -> str:
    """Text that cannot steer a terminal: what is no visible character is written out."""
    return "".join(c if c.isprintable() or c == "\t" else _written_out(c) for c in text)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


pass_app = click.make_pass_decorator(App, ensure=True)


def is_terminal() -> bool:
    """Whether standard error is a terminal, where a bar can be drawn."""
    return sys.stderr.isatty()
