"""What fetchers share: a client that is started, its last words, and the one way to say: not to be had."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MissingError", "Told", "ask", "last_line"]


class MissingError(Exception):
    """A package or member that could not be had; the text is one line."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a client ended: whether well, and all it said."""

    good: bool
    words: str


def ask(
    argv: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Told:
    """Run a client to its end. Raises MissingError where there is no such program."""
    try:
        done = subprocess.run(
            argv,
            env=environment,
            cwd=folder,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        raise MissingError(f"{argv[0]}: {error.strerror}") from error
    return Told(done.returncode == 0, done.stdout)


def last_line(words: str) -> str:
    """The last line of what a client said, without the names of mirrors."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return re.sub(r"[a-z]+://[^/\s]+", "(mirror)", lines[-1] if lines else "no output")[:200]
