"""Files and directories: the only room that renames, links and syncs.

``Disk`` is what a disk can do; ``RealDisk`` is the machine's, ``SimulatedDisk``
one in memory that can lose power.  ``recipes`` are the few safe ways to change
a disk, ``output`` those for files that a person asked for, ``ranges`` bytes
that are read by ranges.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from
from deltaseal.storage.disk import (
    Buffer,
    Dir,
    Disk,
    ExistsError,
    File,
    Kind,
    MissingError,
    PathLike,
    ShortReadError,
    Space,
    Stat,
    WrongKindError,
    exists,
    plain_path,
)
from deltaseal.storage.output import Hasher, Output, check_output, open_output, open_output_dir, write_output
from deltaseal.storage.ranges import ByteSource, BytesSource, FileSource, SliceSource, chunks
from deltaseal.storage.real import RealDisk

if TYPE_CHECKING:
    from deltaseal.storage.recipes import (
        Found,
        copy_tree,
        read_file,
        remove_tree,
        replace_link,
        shares_blocks,
        walk,
        write_file,
    )
    from deltaseal.storage.simulated import PowerCut, SimulatedDisk

__all__ = [
    "Buffer",
    "ByteSource",
    "BytesSource",
    "Dir",
    "Disk",
    "ExistsError",
    "File",
    "FileSource",
    "Found",
    "Hasher",
    "Kind",
    "MissingError",
    "Output",
    "PathLike",
    "PowerCut",
    "RealDisk",
    "ShortReadError",
    "SimulatedDisk",
    "SliceSource",
    "Space",
    "Stat",
    "WrongKindError",
    "check_output",
    "chunks",
    "copy_tree",
    "exists",
    "open_output",
    "open_output_dir",
    "plain_path",
    "read_file",
    "remove_tree",
    "replace_link",
    "shares_blocks",
    "walk",
    "write_file",
    "write_output",
]

# No command needs a disk that is not there; an image is made and applied without changing a directory's tree.
__getattr__ = names_from(
    __name__,
    homes_in(
        __name__,
        {
            "recipes": (
                "Found",
                "copy_tree",
                "read_file",
                "remove_tree",
                "replace_link",
                "shares_blocks",
                "walk",
                "write_file",
            ),
            "simulated": ("PowerCut", "SimulatedDisk"),
        },
    ),
)
