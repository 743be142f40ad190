"""``--depfile``: what an output was made from, as Make, Ninja and CMake read it (as of ``gcc -MMD -MP``).

Of a directory every file and every directory is named: a directory is newer once an entry came or went.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltaseal.cli.options import PATH
from deltaseal.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from deltaseal.storage import PathLike

__all__ = ["depfile_option", "write_depfile"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def depfile_option(command: Decorated) -> Decorated:
    """``--depfile``."""
    return click.option(
        "--depfile",
        type=PATH,
        metavar="FILE",
        help="Write what the output was made from, for Make, Ninja or CMake.",
    )(command)


def write_depfile(depfile: Path | None, output: PathLike, inputs: Iterable[PathLike]) -> None:
    """Write the file, if one is wanted: ``output`` depends on ``inputs``, and on all that is in them."""
    if depfile is None:
        return
    from pathlib import Path

    from deltaseal.storage import write_output

    names = list(dict.fromkeys(_escaped(path) for given in inputs for path in _files(Path(given))))
    rule = " \\\n  ".join([f"{_escaped(output)}:", *names])
    # Rules without commands: a file that goes is no error, it only makes the output out of date.
    nothing = "".join(f"\n{name}:\n" for name in names)
    write_output(depfile, [f"{rule}\n{nothing}".encode("utf-8", "surrogateescape")], force=True)


def _files(given: Path) -> Iterator[Path]:
    yield given
    if not given.is_dir():
        return
    from deltaseal.storage import RealDisk, walk

    disk = RealDisk()
    with disk.open_root(given) as top:
        for found in walk(disk, top):
            if found.stat.kind in ("file", "dir"):
                yield given / found.path


def _escaped(path: PathLike) -> str:
    text = os.fspath(path)
    if "\n" in text:
        raise UsageError(f"a name with a line break cannot stand in a depfile: {text!r}", path=text)
    for sign in ("\\ ", "\\#"):
        text = text.replace(sign[1], sign)
    return text.replace("$", "$$")
