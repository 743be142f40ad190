"""The bench on which a device is tortured: prepared disks, devices on them, and how a verb ends."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deltaseal.device import Device, create
from deltaseal.errors import DeltasealError
from deltaseal.lab.torture.result import Ended
from deltaseal.lab.torture.seen import ROOT, Eye, notes_of
from deltaseal.lab.torture.stock import Stock
from deltaseal.lab.torture.world import World
from deltaseal.storage import PowerCut, SimulatedDisk
from deltaseal.storage.nodes import DiskState, Leaf
from deltaseal.storage.simulated import Operation
from deltaseal.trust import Trust

if TYPE_CHECKING:
    from deltaseal.lab.torture.repository import Believed

__all__ = ["Bench", "UnpreparedError", "attempt", "overlaid"]

HOOK = f"{ROOT}/health.d/check"
Before = Callable[[Operation], int | None]


class UnpreparedError(Exception):
    """The disk that an act begins with could not be made: the updater failed where nothing disturbed it."""


def attempt(verb: Callable[[], object]) -> Ended:
    """Do something, and say how it ended."""
    try:
        verb()
    except PowerCut:
        return Ended("POWER", "the power was cut")
    except DeltasealError as error:
        return Ended(error.reason, error.sentence)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Ended("BUG", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    return Ended()


def overlaid(state: DiskState, changes: dict[str, Leaf | None]) -> DiskState:
    """The state with some leaves changed, or gone."""
    leaves = {**state.leaves, **changes}
    return DiskState({path: leaf for path, leaf in leaves.items() if leaf is not None})


class Bench:
    """Prepared disks by name, made once, and devices to work on them."""

    def __init__(self, stock: Stock) -> None:
        self.stock = stock
        self.eye = Eye(stock)
        self._prepared: dict[str, DiskState] = {}

    @property
    def world(self) -> World:
        """An ordinary day."""
        return World(self.stock.now)

    def device(self, disk: SimulatedDisk, world: World) -> Device:
        """The device on a disk."""
        return Device(Path(f"/{ROOT}"), edge=world.edge(), disk=disk)

    def new(self) -> DiskState:
        """A disk with a fresh device, and its components beside."""
        return self.prepared("new", lambda bench: bench._created(bench.stock.trust))

    def believing(self) -> DiskState:
        """The same with a device that believes in the repository, as it was before its news."""
        believed = self.repository
        return self.prepared("believing", lambda bench: bench._created(believed.trust, believed.before))

    def _created(self, trust: Trust, metadata: Mapping[str, bytes] | None = None) -> DiskState:
        disk = SimulatedDisk({f"trees/{path}": leaf for path, leaf in self.stock.trees.items()})
        create(
            Path(f"/{ROOT}"),
            base=self.stock.base_document,
            trees=Path("/trees"),
            trust=trust,
            model=self.stock.model,
            edge=self.world.edge(),
            disk=disk,
            metadata=metadata,
        )
        found = disk.after_cut("durable")
        # What the device was created from is not looked at again, and would only cost time.
        return DiskState({path: leaf for path, leaf in found.leaves.items() if not path.startswith("trees")})

    @functools.cached_property
    def repository(self) -> Believed:
        """A repository that a device may believe in, made when the first act asks for it."""
        from deltaseal.lab.torture.repository import publish_news

        return publish_news(self.stock)

    def prepared(self, name: str, make: Callable[[Bench], DiskState]) -> DiskState:
        """The disk that ``make`` prepares, made once."""
        if name not in self._prepared:
            self._prepared[name] = make(self)
        return self._prepared[name]

    def done(
        self, state: DiskState, verb: Callable[[Device], object], world: World | None = None
    ) -> DiskState:
        """The disk after a verb that ran to its end, however that was."""
        disk = SimulatedDisk.of(state)
        ended = attempt(lambda: verb(self.device(disk, world or self.world)))
        if ended.reason == "BUG":
            raise UnpreparedError(f"a verb that prepares a disk failed: {ended.sentence}")
        return disk.after_cut("visible")

    def stopped(
        self, state: DiskState, verb: Callable[[Device], object], at: str, *, pointed: bool = False
    ) -> DiskState:
        """The disk as it is found where the power goes as soon as the journal stands in a state.

        With ``pointed`` the pointer has been moved as well.
        """
        disk = SimulatedDisk.of(state)

        def before(operation: Operation) -> None:
            if operation.change is None:
                return
            now = disk.after_cut("durable")
            notes = notes_of(now.leaves)
            moved = self.eye.pointer(now) != self.eye.pointer(state)
            if notes and notes[-1].state == at and (moved or not pointed):
                disk.cut()

        disk.before = before
        ended = attempt(lambda: verb(self.device(disk, self.world)))
        if ended.reason != "POWER":
            raise UnpreparedError(f"the device never came to {at}: {ended}")
        return disk.after_cut("durable")
