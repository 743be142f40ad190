"""How long an improvement took on the devices that have it, as they reported."""

from __future__ import annotations

from dataclasses import dataclass

from deltaseal.fleet.store import Fleet

__all__ = ["Took", "timings_of"]


@dataclass(frozen=True, slots=True)
class Took:
    """From the offer until the trial had passed; in seconds, by the devices' own clocks."""

    devices: int
    median: int
    slow: int  # nine of ten took no longer
    fetched: int  # bytes, all of them together

    def to_json(self) -> dict[str, int]:
        """The figures as JSON values."""
        return {"devices": self.devices, "median": self.median, "slow": self.slow, "fetched": self.fetched}


def timings_of(fleet: Fleet, id: str) -> Took | None:
    """The figures of one improvement; ``None`` where no device reported that it passed."""
    query = "SELECT count(*), coalesce(sum(fetched), 0) FROM timings WHERE id = ?"
    count, fetched = fleet.one(query, (id,)) or (0, 0)
    if not count:
        return None

    def at(place: int) -> int:
        query = "SELECT seconds FROM timings WHERE id = ? ORDER BY seconds LIMIT 1 OFFSET ?"
        (seconds,) = fleet.one(query, (id, place)) or (0,)
        return int(seconds)

    return Took(count, at((count - 1) // 2), at((9 * count - 1) // 10), fetched)
