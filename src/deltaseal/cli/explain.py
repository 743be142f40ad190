"""``deltaseal explain``: why a delta is as large as it is."""

from __future__ import annotations

from pathlib import Path

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Command
from deltaseal.cli.options import FILE, PATH, exclude_option, force_option, json_option, names_option
from deltaseal.cli.progress import bar

__all__ = ["explain"]


@click.command(cls=Command)
@click.argument("delta", type=FILE)
@click.option("--old", type=PATH, metavar="OLD", help="What it was made from: needed for all but streams.")
@click.option("--new", type=PATH, metavar="NEW", help="What must come out; without it, whatever does.")
@exclude_option
@names_option
@click.option("--all", "every", is_flag=True, help="Every row of every table.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a treemap to click through, whole in itself.")
@force_option
@json_option
@pass_app
def explain(
    app: App,
    delta: Path,
    old: Path | None,
    new: Path | None,
    exclude: tuple[str, ...],
    names: str,
    every: bool,
    html: Path | None,
    force: bool,
) -> None:
    """Say what every byte of DELTA is spent on.

    By kind, section, stream, file of a directory, and by function: what each costs, its old and new size, and
    whether it changed in substance or only moved. The tables add up to the delta's size, exactly.
    """
    from deltaseal.lab.explain import explain as account
    from deltaseal.lab.explain.tables import explanation_lines
    from deltaseal.storage import check_output, write_output

    if html is not None:
        check_output(html, force=force)
    with bar(app, "applying the delta") as progress:
        found = account(
            delta,
            old=old,
            new=new,
            exclude=exclude,
            names="insensitive" if names == "insensitive" else "sensitive",
            progress=progress,
        )
    if html is not None:
        from deltaseal.lab.explain.treemap import treemap

        write_output(html, [treemap(found, delta.name).encode()], force=force)
    app.report(found.to_json(), lambda: explanation_lines(found, every=every))
