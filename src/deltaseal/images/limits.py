"""What an applier may use: from a signed manifest, under a hard cap."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Ceilings of one application.

    output_bytes: largest new image. memory_bytes: what the child may allocate beside the
    mapped old image. seconds: processor time of the child.
    """

    output_bytes: int = 4 << 30
    memory_bytes: int = 1 << 30
    seconds: int = 600
