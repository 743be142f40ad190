"""Which running programs still use what was replaced, as one value with a JSON form of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

__all__ = ["FORMAT", "ImageUse", "ProcessUse", "Processes"]

FORMAT: Final = 1  # of the JSON


@dataclass(frozen=True, slots=True)
class ImageUse:
    """One file of a component that a process has mapped."""

    component: str  # empty where only its build-id is known
    path: str  # inside the component; as the kernel names it where that is not known
    of: str  # the improvement that it belongs to; "baseline"; or what else is known of it
    known_by: str  # "path", "device and inode", or "build-id"
    build_id: str  # hexadecimal; empty: it has none, or may not be looked at
    build_id_now: str  # of the image that stands in its place now


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """A process, and the files of components that it has mapped."""

    pid: int
    names: tuple[str, ...]  # the short name, and the file name of its program
    unit: str  # its systemd unit, or nothing
    images: tuple[ImageUse, ...]

    @property
    def name(self) -> str:
        """What to call it."""
        return min(self.names, default=str(self.pid))

    @property
    def relaunch(self) -> str:
        """What has to be started again for it to use what is in use now."""
        return self.unit or self.name


@dataclass(frozen=True, slots=True)
class Processes:
    """All processes that use the components of a device, told apart by what they use."""

    using: str  # what is in use now: an improvement, or "baseline"
    name: str  # the same for people: "macOS 26.3.1 (a)"
    pending: str  # "relaunch", "restart", or nothing
    replaced: tuple[ProcessUse, ...]  # those that use at least one file that was replaced
    current: tuple[ProcessUse, ...]  # those that only use what is in use now
    unseen: int  # processes that we may not look at

    @property
    def relaunch(self) -> tuple[str, ...]:
        """What has to be started again: units where there are, else programs; each once."""
        return tuple(sorted({process.relaunch for process in self.replaced}))

    @property
    def by_origin(self) -> dict[str, tuple[str, ...]]:
        """For each state of the components that is still in use somewhere: the programs that use it."""
        found: dict[str, set[str]] = {}
        for process in self.replaced:
            for image in process.images:
                found.setdefault(image.of, set()).add(process.name)
        return {of: tuple(sorted(names)) for of, names in sorted(found.items())}

    def to_json(self) -> dict[str, Any]:
        """The value as JSON, with the version of its form."""
        return {
            "format": FORMAT,
            **asdict(self),
            "by_origin": {of: list(names) for of, names in self.by_origin.items()},
            "relaunch": list(self.relaunch),
        }
