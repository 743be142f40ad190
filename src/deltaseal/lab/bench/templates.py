"""Commands of others as tools: any program that makes deltas and applies them, from a TOML file.

A file has one ``[[tool]]`` for each::

    [[tool]]
    name = "zucchini"
    create = ["zucchini", "-gen", "{old}", "{new}", "{delta}"]
    apply = ["zucchini", "-apply", "{old}", "{delta}", "{new}"]

A command is a list of words, or one text that is split as a shell would. ``settings`` are words for the
tables. ``start`` is a call that only starts the program: what it takes is subtracted, and its first line is
the version that reports show; without it nothing is. ``trees = true`` says that the tool takes directories.
"""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Any

from deltaseal.errors import UsageError
from deltaseal.lab.bench.tools import OURS, Tool

__all__ = ["load_tools"]

_CALLS = {"create": {"{old}", "{new}", "{delta}"}, "apply": {"{old}", "{new}", "{delta}"}}
_FIELDS = {"name", "settings", "create", "apply", "start", "trees"}
_NOTHING = ("true",)


def load_tools(path: Path) -> tuple[Tool, ...]:
    """The tools of a file, in its order. Raises UsageError, with the tool and field that is wrong."""
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}") from error
    entries = values.get("tool")
    if not isinstance(entries, list) or not entries or set(values) != {"tool"}:
        raise UsageError(f"{path} has to hold [[tool]] tables, and nothing else")
    tools = tuple(_tool(entry, f"{path}: tool {number}") for number, entry in enumerate(entries, start=1))
    names = [tool.name for tool in tools]
    if len(set(names)) != len(names):
        raise UsageError(f"{path} names a tool twice")
    return tools


def _tool(entry: dict[str, Any], where: str) -> Tool:
    unknown = set(entry) - _FIELDS
    if unknown:
        known = ", ".join(sorted(_FIELDS))
        raise UsageError(f"{where}: unknown {', '.join(sorted(unknown))}", hint=f"known: {known}")
    name, settings, trees = entry.get("name"), entry.get("settings", ""), entry.get("trees", False)
    if not isinstance(name, str) or not name or name.startswith(OURS):
        raise UsageError(f"{where}: name must be a text that does not begin with {OURS!r}")
    if not isinstance(settings, str) or not isinstance(trees, bool):
        raise UsageError(f"{where}: settings is a text, trees is true or false")
    create, apply = (_call(entry, field, f"{where} ({name})") for field in _CALLS)
    start = _words(entry["start"], f"{where} ({name}): start") if "start" in entry else _NOTHING
    return Tool(name=name, settings=settings, create=create, apply=apply, start=start, takes_trees=trees)


def _call(entry: dict[str, Any], field: str, where: str) -> tuple[str, ...]:
    if field not in entry:
        raise UsageError(f"{where}: no {field}", hint="a tool has name, create and apply")
    words = _words(entry[field], f"{where}: {field}")
    absent = sorted(place for place in _CALLS[field] if not any(place in word for word in words))
    if absent:
        raise UsageError(f"{where}: {field} does not say {', '.join(absent)}")
    return words


def _words(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from error
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise UsageError(f"{where}: a command is a list of words, or one text")
    return tuple(value)
