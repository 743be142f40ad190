"""``matrix build``: plan, make what the cache has not got, choose, and write the folder of the output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deltaseal.errors import DigestError, UsageError
from deltaseal.lab.matrix.cache import Cache
from deltaseal.lab.matrix.choice import NOTHING_SERVED, Choice, Served, choose, served
from deltaseal.lab.matrix.jobs import toolchain
from deltaseal.lab.matrix.plan import Cell, Plan, make_plan
from deltaseal.lab.matrix.releases import WHOLE, Population, Releases
from deltaseal.lab.matrix.schedule import Executor, Watch, run
from deltaseal.storage import Dir, RealDisk, open_output_dir, write_file

__all__ = ["INDEX", "Built", "BuiltCell", "build", "index_of", "look"]

INDEX = "matrix.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class BuiltCell:
    """A cell that was made: its size in bytes, its SHA-256, and what became of it."""

    cell: Cell
    size: int
    sha256: str
    choice: Choice

    @property
    def path(self) -> str | None:
        """Where it lies in the output; ``None`` if it is not kept."""
        start = WHOLE if self.cell.start == WHOLE else f"from-{self.cell.start}"
        return f"{self.cell.base.id}/{self.cell.component}/{start}.delta" if self.choice.kept else None

    def to_json(self) -> dict[str, Any]:
        """The cell in ``matrix.json``."""
        cell, base = self.cell, self.cell.base
        return {
            "base": base.id,
            "os": base.os,
            "build": base.build,
            "models": list(base.models),
            "component": cell.component,
            "start": cell.start,
            "old_tree": cell.old_tree,
            "new_tree": cell.new_tree,
            "size": self.size,
            "sha256": self.sha256,
            "kept": self.choice.kept,
            "why": self.choice.why,
            "path": self.path,
        }


@dataclass(frozen=True, slots=True)
class Built:
    """What a run did. Counts of jobs; ``served`` only where a population was given."""

    plan: Plan
    cells: tuple[BuiltCell, ...]
    population: Population | None
    made: int
    cached: int
    written: bool  # False: the output was there already, byte for byte

    @property
    def did_nothing(self) -> bool:
        """Whether everything was there before."""
        return not self.made and not self.written

    def served_by_component(self) -> dict[tuple[str, str], Served]:
        """Bytes served, by base and component; empty without a population."""
        if self.population is None:
            return {}
        found = {}
        for (base, component), cells in by_component(self.cells).items():
            sizes = {one.cell.start: one.size for one in cells}
            kept = {one.cell.start for one in cells if one.choice.kept}
            done = frozenset(start for at, of, start in self.plan.done if (at, of) == (base, component))
            found[base, component] = served(sizes, kept, self.population, base, done=done)
        return found

    @property
    def served(self) -> Served | None:
        """Bytes served in all."""
        parts = self.served_by_component().values()
        return None if self.population is None else sum(parts, start=NOTHING_SERVED)


def build(
    releases: Releases,
    output: Path,
    cache: Cache,
    make_executor: Callable[[], Executor],
    *,
    population: Population | None = None,
    force: bool = False,
    watch: Watch | None = None,
    told: Callable[[str], None] = lambda words: None,
) -> Built:
    """Make every delta of the releases that is not in ``cache``, and the folder ``output``.

    ``make_executor`` is called if anything is to be made. An output that a former run made is replaced;
    any other one only with ``force``. Bytes do not depend on executor, order or machine. Raises
    ``UsageError`` for such an output, ``LimitError`` before any work if a job needs more memory than there
    is, and whatever making a tree delta raises.
    """
    _check_output(output, force)
    watch = watch or Watch()
    plan = make_plan(releases, toolchain(), has=cache.has, told=told)
    have = {key for key in plan.jobs if cache.has(key)}
    wanted = [key for key in plan.jobs if key not in have]
    tasks = plan.tasks(wanted)
    watch.planned(tasks, len(have))
    if tasks:
        executor = make_executor()
        try:
            run(tasks, have, executor, watch)
        finally:
            executor.close()
    told("writing the output")
    cells = tuple(_choose(_measure(plan, cache), releases, population))
    written = _write(output, plan, cells, population, cache)
    return Built(plan, cells, population, len(wanted), len(have), written)


def look(releases: Releases, cache: Cache, population: Population | None) -> Built:
    """What ``build`` would keep, from the results in ``cache``: nothing is made or written.

    Raises ``UsageError`` if results are missing.
    """
    plan = make_plan(releases, toolchain(), has=cache.has)
    missing = {cell.key for cell in plan.cells if not cache.has(cell.key)}
    if missing:
        raise UsageError(
            f"{len(missing)} of {len({cell.key for cell in plan.cells})} deltas are not made yet",
            hint="run `deltaseal matrix build` before",
            missing=len(missing),
        )
    cells = tuple(_choose(_measure(plan, cache), releases, population))
    return Built(plan, cells, population, 0, len(plan.jobs), False)


def by_component(cells: tuple[BuiltCell, ...]) -> dict[tuple[str, str], list[BuiltCell]]:
    """The cells of each base and component, in order."""
    found: dict[tuple[str, str], list[BuiltCell]] = {}
    for one in cells:
        found.setdefault((one.cell.base.id, one.cell.component), []).append(one)
    return found


def _measure(plan: Plan, cache: Cache) -> tuple[BuiltCell, ...]:
    known: dict[str, tuple[int, str]] = {}
    for cell in plan.cells:
        if cell.key not in known:
            result = _result(cache, cell.key)
            known[cell.key] = (len(result), hashlib.sha256(result).hexdigest())
    return tuple(BuiltCell(cell, *known[cell.key], Choice(True, "always")) for cell in plan.cells)


def _choose(
    cells: tuple[BuiltCell, ...], releases: Releases, population: Population | None
) -> Iterator[BuiltCell]:
    for (base, _), group in by_component(cells).items():
        sizes = {one.cell.start: one.size for one in group}
        choices = choose(sizes, releases.least_saving_percent, population, base)
        for one in group:
            yield replace(one, choice=choices[one.cell.start])


def index_of(plan: Plan, cells: tuple[BuiltCell, ...], population: Population | None) -> bytes:
    """The bytes of ``matrix.json``."""
    values = {
        "format": _FORMAT,
        "deltaseal": plan.tools.deltaseal,
        "zstd": plan.tools.zstd,
        "revisions": list(plan.tools.revisions),
        "effort": plan.releases.effort,
        "least_saving_percent": plan.releases.least_saving_percent,
        "population": _population(population),
        "cells": [cell.to_json() for cell in cells],
    }
    return (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()


def _population(population: Population | None) -> Mapping[str, Any] | None:
    if population is None:
        return None
    return {"mirrors": population.mirrors, "devices": population.devices}


def _result(cache: Cache, key: str) -> bytes:
    result = cache.get(key)
    if result is None:
        raise DigestError(
            f"the result {key} has gone from the cache {str(cache.folder)!r}",
            hint="run the same command again",
        )
    return result


# ---- the folder of the output ----------------------------------------------------------------------------


def _is_ours(output: Path) -> bool:
    """Whether a former run made this folder."""
    try:
        values = json.loads((output / INDEX).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "cells" in values and "revisions" in values


def _check_output(output: Path, force: bool) -> None:
    if output.exists() and not force and not _is_ours(output):
        raise UsageError(
            f"{str(output)!r} exists already, and is no matrix",
            hint="choose another output, or replace it with --force",
            path=str(output),
        )


def _write(
    output: Path, plan: Plan, cells: tuple[BuiltCell, ...], population: Population | None, cache: Cache
) -> bool:
    index = index_of(plan, cells, population)
    kept = {path: one for one in cells if (path := one.path)}
    if _is_there(output, index, kept):
        return False
    inputs = {directory for cell in plan.cells for directory in (cell.old_dir, cell.new_dir)}
    disk = RealDisk()
    with open_output_dir(output, force=True, inputs=sorted(inputs)) as top:
        for base in sorted({path.split("/")[0] for path in kept}):
            with disk.make_dir(top, base) as of_base:
                _write_base(disk, of_base, base, kept, cache)
                disk.sync_dir(of_base)
        write_file(disk, top, INDEX, index)
    return True


def _write_base(disk: RealDisk, at: Dir, base: str, kept: Mapping[str, BuiltCell], cache: Cache) -> None:
    components = sorted({path.split("/")[1] for path in kept if path.startswith(base + "/")})
    for component in components:
        with disk.make_dir(at, component) as directory:
            for path, one in kept.items():
                if path.startswith(f"{base}/{component}/"):
                    write_file(disk, directory, path.rpartition("/")[2], _result(cache, one.cell.key))


def _is_there(output: Path, index: bytes, kept: Mapping[str, BuiltCell]) -> bool:
    """Whether the output holds exactly these bytes already."""
    if not output.is_dir():
        return False
    found = {str(path.relative_to(output)) for path in output.rglob("*") if not path.is_dir()}
    if found != {*kept, INDEX} or (output / INDEX).read_bytes() != index:
        return False
    return all(
        hashlib.sha256((output / path).read_bytes()).hexdigest() == one.sha256 for path, one in kept.items()
    )
