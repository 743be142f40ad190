"""A whole run: its records and what it was made on; as JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deltaseal.errors import UsageError
from deltaseal.lab.bench.process import Usage
from deltaseal.lab.bench.record import Record
from deltaseal.lab.bench.tools import OURS

__all__ = ["FORMAT", "Result", "is_ours", "load_result"]

FORMAT = 2


def is_ours(tool: str) -> bool:
    """Whether a tool's name is that of deltaseal, at whatever effort."""
    return tool == OURS or tool.startswith(OURS + "-")


@dataclass(frozen=True, slots=True)
class Result:
    """Every record of a run. ``machine`` and ``versions`` are words by name; ``command`` made it again."""

    records: tuple[Record, ...]
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def pairs(self) -> tuple[str, ...]:
        """Names of the pairs, in the order in which they ran."""
        return tuple(dict.fromkeys(record.pair for record in self.records))

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools, in the order in which they ran; others are held to the first."""
        return tuple(dict.fromkeys(record.tool for record in self.records))

    def good(self, pair: str, tool: str) -> Record | None:
        """The record of one tool on one pair, where it gave the new side back."""
        for record in self.records:
            if (record.pair, record.tool) == (pair, tool) and record.good:
                return record
        return None

    def to_json(self) -> str:
        """Every figure, with what it was measured on."""
        value = {
            "format": FORMAT,
            "command": self.command,
            "machine": self.machine,
            "versions": self.versions,
            "records": [asdict(record) for record in self.records],
        }
        return json.dumps(value, indent=1) + "\n"


def load_result(path: Path) -> Result:
    """A run that was written as JSON. Raises UsageError where it is none, or of another form."""
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON of a run: {error}") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UsageError(f"{path} is no run in format {FORMAT}", hint="make it anew with --json")
    try:
        records = tuple(map(_record, value["records"]))
        return Result(records, dict(value["machine"]), dict(value["versions"]), str(value["command"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not whole: {error}") from error


def _record(value: dict[str, Any]) -> Record:
    usages: dict[str, Any] = {name: Usage(**value[name]) for name in ("create", "apply")}
    usages |= {name: tuple(Usage(**one) for one in value[name]) for name in ("creates", "applies")}
    return Record(**{**value, **usages})
