"""Which files of the components running processes have mapped, and whether they are still in use.

A mapped file is recognised, in this order:

1. by its **path**, where the kernel names one in this store: the folder says whose it is;
2. by **device and inode**, where it came in by another way (a bind mount, a container, a hard link);
3. by its **build-id**, where it is another file with the same bytes, or one that was removed meanwhile.

A file counts as replaced if what stands in its place now has other bytes; one that an improvement left as it
was does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from deltaseal.device.build_id import build_id
from deltaseal.device.ledger import Base, Improvement
from deltaseal.device.store import BASELINE, Store, holder_of, slot_name
from deltaseal.edge import Edge, Process
from deltaseal.edge import Mapping as Mapped
from deltaseal.errors import DeltasealError
from deltaseal.report import ImageUse, ProcessUse
from deltaseal.storage import File, MissingError, WrongKindError, chunks, walk

__all__ = ["Images", "Kind"]

PATH: Final = "path"
INODE: Final = "device and inode"
BUILD_ID: Final = "build-id"

_Place = tuple[str, str, str]  # holder, component, path inside it


class Kind(Enum):
    """What a mapped file is to the device."""

    CURRENT = "in use now"
    SAME = "not in use, with the same bytes as what is"
    REPLACED = "other bytes stand in its place now"


@dataclass(frozen=True, slots=True)
class _Use:
    image: ImageUse
    kind: Kind


class Images:
    """The files of a store's components, those in use and those that are not any more.

    Made for one look: it keeps what it has read. ``names`` says which improvement a slot holds or held.
    """

    def __init__(
        self,
        edge: Edge,
        store: Store,
        base: Base,
        shown: Improvement | None,
        *,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._edge = edge
        self._store = store
        self._names = {slot_name(number): id for number, id in (names or {}).items()}
        if shown is not None:
            self._names[slot_name(shown.slot)] = shown.id
        touched = shown.trees if shown else {}
        self._current = {name: holder_of(shown if name in touched else None) for name in base.found}
        self._changed = touched
        self._same: dict[_Place, bool] = {}
        self._build_ids: dict[_Place, str] = {}
        self._mapped_ids: dict[tuple[int, int], str] = {}

    def uses(self, process: Process) -> tuple[_Use, ...]:
        """The files of components that a process has mapped."""
        return tuple(use for mapping in process.mappings if (use := self._use(process, mapping)))

    def process_use(self, process: Process, kind: Kind) -> ProcessUse | None:
        """A process and the files of one kind that it has mapped; ``None`` without any."""
        images = tuple(use.image for use in self.uses(process) if use.kind is kind)
        if not images:
            return None
        return ProcessUse(process.pid, tuple(sorted(process.names)), process.unit, images)

    def stale(self) -> tuple[ProcessUse, ...]:
        """The processes that have mapped a file that was replaced."""
        found = (self.process_use(process, Kind.REPLACED) for process in self._edge.processes())
        return tuple(use for use in found if use)

    def uses_new(self, process: Process) -> bool:
        """Whether a process has mapped a file of a component as it is in use now, of those that changed."""
        return any(
            use.kind is Kind.CURRENT and use.image.component in self._changed for use in self.uses(process)
        )

    # One mapping -----------------------------------------------------------------

    def _use(self, process: Process, mapping: Mapped) -> _Use | None:
        by_path = self._by_path(mapping)
        place = by_path or self._by_inode.get((mapping.device, mapping.inode))
        if place is None:
            return self._by_build_id(process, mapping)
        holder, component, _ = place
        known_by = PATH if by_path else INODE
        gone = mapping.deleted and by_path is not None
        if holder == self._current.get(component) and not gone:
            return self._told(place, known_by, self._id_of(place), Kind.CURRENT)
        mine = self._mapped_id(process, mapping) if gone else self._id_of(place)
        same = mine in self._current_ids if gone else self._is_same(place)
        return self._told(place, known_by, mine, Kind.SAME if same else Kind.REPLACED, gone=gone)

    def _told(self, place: _Place, known_by: str, mine: str, kind: Kind, *, gone: bool = False) -> _Use:
        holder, component, path = place
        if holder == BASELINE:
            of = "a former baseline" if gone else BASELINE
        else:
            of = self._names.get(holder, "a former improvement")
        if component not in self._current:  # a tree that is being removed has other paths
            component, path = "", path.rpartition("/")[2] or component
        now = self._id_of(self._now(component, path)) if kind is Kind.REPLACED else ""
        return _Use(ImageUse(component, path, of, known_by, mine, now), kind)

    def _by_path(self, mapping: Mapped) -> _Place | None:
        relative = mapping.path.removeprefix(f"{self._store.path}/")
        holder, _, rest = relative.partition("/")
        if relative == mapping.path or not (holder == BASELINE or holder.startswith("slot-")):
            return None
        component, _, path = rest.partition("/")
        return holder, component, path

    def _by_build_id(self, process: Process, mapping: Mapped) -> _Use | None:
        if not self._replaced_ids or not mapping.end:
            return None
        mine = self._mapped_id(process, mapping)
        if (place := self._replaced_ids.get(mine)) is not None:
            return self._told(place, BUILD_ID, mine, Kind.REPLACED)
        if (place := self._rival_ids.get(mine)) is not None and mine not in self._other_ids:
            return self._told(place, BUILD_ID, mine, Kind.CURRENT)
        return None

    def _mapped_id(self, process: Process, mapping: Mapped) -> str:
        key = (mapping.device, mapping.inode)
        if key not in self._mapped_ids:
            self._mapped_ids[key] = build_id(
                lambda offset, size: self._edge.read_mapped(process.pid, mapping, offset, size)
            )
        return self._mapped_ids[key]

    # What lies in the store ----------------------------------------------------------

    @cached_property
    def _by_inode(self) -> dict[tuple[int, int], _Place]:
        return {key: place for place, key in self._files.items()}

    @cached_property
    def _current_ids(self) -> dict[str, _Place]:
        """Build-ids of all that is in use."""
        return self._ids(place for place in self._files if place[0] == self._current.get(place[1]))

    @cached_property
    def _in_several(self) -> frozenset[str]:
        """Components that lie in the store in more than one state: of no other can a file be replaced."""
        holders = {(place[0], place[1]) for place in self._files}
        counted = Counter(component for _, component in holders)
        return frozenset(component for component, number in counted.items() if number > 1)

    @cached_property
    def _rival_ids(self) -> dict[str, _Place]:
        """Build-ids of what is in use, where something else lies beside it."""
        return self._ids(
            place
            for place in self._files
            if place[1] in self._in_several and place[0] == self._current.get(place[1])
        )

    @cached_property
    def _other_ids(self) -> dict[str, _Place]:
        """Build-ids of what lies in the store and is not in use; it may have the same bytes as what is."""
        return self._ids(
            place
            for place in self._files
            if place[1] in self._in_several and place[0] != self._current.get(place[1])
        )

    @cached_property
    def _replaced_ids(self) -> dict[str, _Place]:
        return {id: place for id, place in self._other_ids.items() if id not in self._rival_ids}

    def _ids(self, places: Iterable[_Place]) -> dict[str, _Place]:
        return {id: place for place in places if (id := self._id_of(place))}

    @cached_property
    def _files(self) -> dict[_Place, tuple[int, int]]:
        """Every file of every component that lies in the store, with its device and inode."""
        holders = [BASELINE, *(slot_name(number) for number in self._store.slots())]
        return {place: key for holder in holders for place, key in self._files_of(holder)}

    def _files_of(self, holder: str) -> Iterator[tuple[_Place, tuple[int, int]]]:
        disk = self._store.disk
        for component in self._current:
            try:
                with self._store.inside(holder) as at, disk.open_dir(at, component) as tree:
                    for found in walk(disk, tree):
                        if found.stat.kind == "file":
                            yield (holder, component, found.path), (found.stat.dev, found.stat.inode)
            except (MissingError, WrongKindError):
                continue  # an untouched component is a link: its files lie in the baseline

    def _id_of(self, place: _Place | None) -> str:
        if place is None:
            return ""
        if place not in self._build_ids:
            with self._opened(place) as file:
                self._build_ids[place] = build_id(_reader(file)) if file else ""
        return self._build_ids[place]

    def _now(self, component: str, path: str) -> _Place | None:
        """Where the file stands that is in use now."""
        holder = self._current.get(component)
        return (holder, component, path) if holder is not None else None

    def _is_same(self, place: _Place) -> bool:
        """Whether the file that stands in its place now has the same bytes."""
        if place not in self._same:
            now = self._now(place[1], place[2])
            with self._opened(place) as old, self._opened(now) as new:
                self._same[place] = bool(
                    old
                    and new
                    and old.size() == new.size()
                    and all(a == b for a, b in zip(chunks(old), chunks(new), strict=True))
                )
        return self._same[place]

    @contextmanager
    def _opened(self, place: _Place | None) -> Iterator[File | None]:
        with ExitStack() as opened:
            yield self._open(place, opened) if place else None

    def _open(self, place: _Place, opened: ExitStack) -> File | None:
        holder, component, path = place
        disk = self._store.disk
        *folders, name = path.split("/")
        try:
            at = opened.enter_context(self._store.inside(holder))
            for folder in (component, *folders):
                at = opened.enter_context(disk.open_dir(at, folder))
            return opened.enter_context(disk.open_read(at, name))
        except (DeltasealError, ValueError):
            return None  # nothing of that name, or what is no file


def _reader(file: File) -> Callable[[int, int], bytes]:
    size = file.size()
    return lambda offset, most: file.read_at(offset, max(0, min(most, size - offset)))
