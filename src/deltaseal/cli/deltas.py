"""``deltaseal diff`` and ``deltaseal apply``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.depfile import depfile_option, write_depfile
from deltaseal.cli.lazy import Command
from deltaseal.cli.options import (
    NAME,
    SIZE,
    exclude_option,
    force_option,
    json_option,
    making_options,
    names_option,
    output_option,
)
from deltaseal.cli.progress import bar
from deltaseal.cli.words import share

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["apply", "diff"]


@click.command(cls=Command)
@click.argument("old", type=NAME)
@click.argument("new", type=NAME)
@output_option("DELTA", NAME)
@making_options
@click.option("--max-memory", type=SIZE, metavar="SIZE", help="Memory for one image, such as 500M or 2G.")
@exclude_option
@names_option
@depfile_option
@force_option
@json_option
@pass_app
def diff(
    app: App,
    old: str,
    new: str,
    output: str,
    effort: str,
    threads: int,
    max_memory: int | None,
    exclude: tuple[str, ...],
    names: str,
    depfile: Path | None,
    force: bool,
) -> None:
    """Make the delta that turns OLD into NEW: two images, or two directories.

    The delta is applied and compared before it is written: one that does not give NEW back, byte for byte,
    is never left behind.
    """
    from deltaseal.verbs import deltas

    with bar(app, "making the delta") as progress:
        made = deltas.diff(
            old,
            new,
            output,
            effort=effort,
            threads=threads,
            max_memory=max_memory,
            exclude=exclude,
            names="insensitive" if names == "insensitive" else "sensitive",
            force=force,
            progress=progress,
        )
    write_depfile(depfile, output, [old, new])
    what = "image" if made.kind == "image delta" else "directory"
    words = (
        f"{output}: {made.size:,} bytes, {share(made.size, made.new_size)} of the new {what}'s "
        f"{made.new_size:,}; applied and compared"
    )
    app.done(made._asdict(), words)


@click.command(cls=Command)
@click.argument("old", type=NAME)
@click.argument("delta", type=NAME)
@output_option("NEW", NAME)
@exclude_option
@names_option
@depfile_option
@force_option
@json_option
@pass_app
def apply(
    app: App,
    old: str,
    delta: str,
    output: str,
    exclude: tuple[str, ...],
    names: str,
    depfile: Path | None,
    force: bool,
) -> None:
    """Make NEW from OLD and DELTA: an image, or a directory.

    OLD must be exactly what the delta was made from. A new image gets OLD's permission bits. A delta is a
    foreign file: it is applied in a confined process, and NEW gets its name only when every byte is right.
    """
    from deltaseal.verbs import deltas

    with bar(app, "applying the delta") as progress:
        applied = deltas.apply(
            old,
            delta,
            output,
            exclude=exclude,
            names="insensitive" if names == "insensitive" else "sensitive",
            force=force,
            progress=progress,
        )
    write_depfile(depfile, output, [old, delta])
    digest = "SHA-256" if applied.kind == "image" else "tree digest"
    app.done(applied._asdict(), f"{output}: {applied.size:,} bytes, {digest} {applied.digest}")
