"""``matrix verify``: every delta of a matrix is applied to its old tree, and what comes out compared."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaseal import trees
from deltaseal.errors import DeltasealError, DigestError, DocumentTypeError
from deltaseal.lab.matrix.building import INDEX
from deltaseal.lab.matrix.releases import BASELINE, WHOLE, MatrixBase, Releases
from deltaseal.storage import BytesSource, FileSource, RealDisk

__all__ = ["Fault", "Verified", "verify"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one delta, or with what should be there."""

    path: str
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Verified:
    """How many deltas were applied and gave what they should, and what was found wrong."""

    proved: int
    faults: tuple[Fault, ...]


def verify(
    releases: Releases, output: Path, *, progress: Callable[[int, int, str], None] = lambda *_: None
) -> Verified:
    """Apply each delta of ``output`` to the old tree of ``releases`` in an empty folder, as a device would.

    ``progress`` gets how many are done, how many there are, and the next one's path. Raises
    ``DocumentTypeError`` if ``output`` is no matrix.
    """
    cells = _cells(output)
    by_id = {base.id: base for base in releases.bases}
    faults = _missing(cells, by_id)
    proved = 0
    kept = [cell for cell in cells if cell["kept"]]
    for done, cell in enumerate(kept):
        progress(done, len(kept), cell["path"])
        try:
            _prove(output, cell, by_id)
            proved += 1
        except DeltasealError as error:
            faults.append(Fault(cell["path"], error.reason, error.sentence))
    known = {INDEX, *(cell["path"] for cell in kept)}
    found = {str(path.relative_to(output)) for path in output.rglob("*") if not path.is_dir()}
    faults += [Fault(path, "E_TYPE", "the matrix does not speak of it") for path in sorted(found - known)]
    return Verified(proved, tuple(faults))


_FIELDS = {"base": str, "component": str, "start": str, "kept": bool, "sha256": str, "size": int}


def _cells(output: Path) -> list[dict[str, Any]]:
    try:
        values = json.loads((output / INDEX).read_bytes())
        cells = list(values["cells"])
        fits = values["format"] == 1 and all(
            isinstance(cell[name], kind) for cell in cells for name, kind in _FIELDS.items()
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentTypeError(f"{str(output / INDEX)!r} is damaged: {error}") from error
    if not fits:
        raise DocumentTypeError(f"{str(output / INDEX)!r} is no matrix of this format")
    return [{**cell, "path": _path(cell)} for cell in cells]


def _path(cell: dict[str, Any]) -> str:
    start = WHOLE if cell["start"] == WHOLE else f"from-{cell['start']}"
    return f"{cell['base']}/{cell['component']}/{start}.delta"


def _missing(cells: list[dict[str, Any]], bases: dict[str, MatrixBase]) -> list[Fault]:
    """Components of the releases for which the matrix has nothing, though they change."""
    there = {(cell["base"], cell["component"]) for cell in cells}
    return [
        Fault(f"{base.id}/{component}", "E_BASE", "the matrix has nothing for it, though it changes")
        for base in bases.values()
        for component, dirs in base.components.items()
        if (base.id, component) not in there and _digest(base, dirs.baseline) != _digest(base, dirs.becomes)
    ]


def _prove(output: Path, cell: dict[str, Any], bases: dict[str, MatrixBase]) -> None:
    base = bases.get(cell["base"])
    dirs = base.components.get(cell["component"]) if base else None
    if base is None or dirs is None:
        raise DocumentTypeError("the releases have no such base and component")
    with FileSource(output / cell["path"]) as source:
        data = source.read_at(0, source.size())
    found = hashlib.sha256(data).hexdigest()
    if (len(data), found) != (cell["size"], cell["sha256"]):
        raise _wrong("the file", cell["sha256"], found)
    old_dir = dirs.baseline if cell["start"] in (BASELINE, WHOLE) else dirs.letters.get(cell["start"])
    if old_dir is None:
        raise DocumentTypeError(f"the releases know no letter {cell['start']} there")
    expected = _digest(base, dirs.becomes)
    disk = RealDisk()
    with (
        tempfile.TemporaryDirectory(prefix="deltaseal-") as scratch,
        disk.open_root(scratch) as dest,
        disk.open_root(old_dir) as old,
    ):
        listing = trees.scan(disk, old, exclude=base.exclude, names=base.names)
        made = trees.apply(disk, old, BytesSource(data), dest, listing=listing, names=base.names)
    if made.digest.hex() != expected:
        raise _wrong("the tree that it makes", expected, made.digest.hex())


def _wrong(what: str, expected: str, found: str) -> DeltasealError:
    return DigestError(f"{what} has digest {found}, expected {expected}", expected=expected, found=found)


def _digest(base: MatrixBase, directory: Path) -> str:
    disk = RealDisk()
    with disk.open_root(directory) as top:
        return trees.scan(disk, top, exclude=base.exclude, names=base.names).digest.hex()
