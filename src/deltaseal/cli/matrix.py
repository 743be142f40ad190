"""``deltaseal matrix``: all deltas of a release day, made once, chosen, and proved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import DIRECTORY, FILE, PATH, SIZE, force_option, json_option
from deltaseal.cli.progress import bar
from deltaseal.cli.words import count, share
from deltaseal.errors import ChecksFailedError, UsageError

if TYPE_CHECKING:
    from deltaseal.lab.matrix import Built, Cache, Executor

__all__ = ["matrix"]

_LOCAL = "local"


def _cache_folder(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path:
    if value is not None:
        return value
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "deltaseal" / "matrix"


_releases = click.argument("releases_file", metavar="RELEASES", type=FILE)


@click.group(cls=Group)
def matrix() -> None:
    """Make all deltas for many bases, models and components, as they are needed on one day.

    RELEASES is a TOML file: docs/spec/matrix.md.
    """


@matrix.command()
@_releases
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="The folder to write.")
@click.option(
    "--population",
    "population_file",
    type=FILE,
    metavar="TOML",
    help="Devices per base and letter: deltas that do not pay are left out.",
)
@click.option(
    "--cache",
    "cache_folder",
    type=PATH,
    callback=_cache_folder,
    metavar="DIR",
    help="Results that are not made twice.  [default: deltaseal/matrix in the user's cache]",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Jobs at a time on this machine; they change no byte.  [default: cores]",
)
@click.option(
    "--memory",
    type=SIZE,
    metavar="SIZE",
    help="Memory for all jobs of this machine together.  [default: four fifths of what is free]",
)
@click.option(
    "--executor",
    default=_LOCAL,
    show_default=True,
    metavar="WHERE",
    help="Where jobs run: local, or dask://HOST:PORT, a scheduler whose workers see the same folders.",
)
@force_option
@json_option
@pass_app
def build(
    app: App,
    releases_file: Path,
    output: Path,
    population_file: Path | None,
    cache_folder: Path,
    jobs: int | None,
    memory: int | None,
    executor: str,
    force: bool,
) -> None:
    """Make every delta that RELEASES asks for and that the cache has not got.

    What is equal for several models or bases is made once; what was made is never made again, also after an
    interruption. The output is the same, byte for byte, whatever the executor and its order.
    """
    from deltaseal.cli.matrix_display import display
    from deltaseal.lab.matrix import Cache, Releases, load_population
    from deltaseal.lab.matrix import build as make

    releases = Releases.load(releases_file)
    ids = tuple(base.id for base in releases.bases)
    population = load_population(population_file, ids) if population_file else None
    cache = Cache(cache_folder.absolute())
    make_executor = _executor(executor, cache, jobs, memory)
    with display(app) as watch:
        built = make(
            releases,
            output,
            cache,
            make_executor,
            population=population,
            force=force,
            watch=watch,
            told=watch.say,
        )
        peak = watch.peak
    app.done(_values(built, peak), _words(built, output), news=built.did_nothing)


@matrix.command()
@_releases
@click.option(
    "--population", "population_file", type=FILE, required=True, metavar="TOML", help="Devices per base."
)
@click.option(
    "--cache", "cache_folder", type=PATH, callback=_cache_folder, metavar="DIR", help="The one of build."
)
@json_option
@pass_app
def plan(app: App, releases_file: Path, population_file: Path, cache_folder: Path) -> None:
    """Say which deltas are worth keeping for a population, and how many bytes the choice saves.

    Nothing is made or written: `matrix build` has filled the cache before.
    """
    from deltaseal.lab.matrix import Cache, Releases, load_population, look

    releases = Releases.load(releases_file)
    population = load_population(population_file, tuple(base.id for base in releases.bases))
    with bar(app, "hashing the trees"):
        built = look(releases, Cache(cache_folder.absolute()), population)
    app.report(_values(built, 0), lambda: _plan_lines(built))


@matrix.command()
@_releases
@click.argument("output", metavar="DIR", type=DIRECTORY)
@json_option
@pass_app
def verify(app: App, releases_file: Path, output: Path) -> None:
    """Apply every delta of the matrix DIR to the tree that it is for, and compare.

    Exits with 30 where one does not give what it should, is missing, or is not spoken of.
    """
    from dataclasses import asdict

    from deltaseal.lab.matrix import Releases
    from deltaseal.lab.matrix import verify as prove

    with bar(app, "applying") as shown:
        found = prove(
            Releases.load(releases_file),
            output,
            progress=lambda done, total, path: shown.step(f"applying {path}", done, total),
        )
    values: dict[str, Any] = {"proved": found.proved, "faults": [asdict(fault) for fault in found.faults]}
    faults = [f"{fault.reason}: {fault.path}: {fault.sentence}" for fault in found.faults]
    if not found.faults or not app.json:  # in JSON the refusal is the one object, and holds the values
        app.report(values, lambda: [*faults, f"{count(found.proved, 'delta')} applied and compared"])
    if found.faults:
        raise ChecksFailedError(f"{count(len(found.faults), 'fault')} in {str(output)!r}", **values)


def _executor(where: str, cache: Cache, jobs: int | None, memory: int | None) -> Callable[[], Executor]:
    from deltaseal.lab.matrix import SCHEME, DaskExecutor, LocalExecutor, toolchain

    if where.startswith(SCHEME):
        if jobs is not None or memory is not None:
            raise UsageError(
                "--jobs and --memory are for this machine", hint="a cluster's workers have their own limits"
            )
        return lambda: DaskExecutor(where, cache.folder, toolchain())
    if where != _LOCAL:
        raise UsageError(f"there is no executor {where!r}", hint="local, or dask://HOST:PORT")
    from deltaseal.edge import available_cores, available_memory

    processes = jobs or available_cores()
    allowed = memory or available_memory() * 4 // 5
    return lambda: LocalExecutor(cache.folder, toolchain(), processes=processes, memory=allowed)


def _values(built: Built, peak: int) -> dict[str, Any]:
    served = built.served
    return {
        "jobs_made": built.made,
        "jobs_cached": built.cached,
        "written": built.written,
        "peak_memory": peak,
        "cells": [{**one.to_json(), "saves": one.choice.saves} for one in built.cells],
        "served": None
        if served is None
        else {
            "chosen": served.chosen,
            "baselines_alone": served.baselines,
            "whole_alone": served.whole,
            "stored": served.stored,
        },
    }


def _words(built: Built, output: Path) -> str:
    kept = sum(one.choice.kept for one in built.cells)
    there = f"{output}: {count(kept, 'delta')} of {count(len(built.cells), 'cell')} kept"
    if built.did_nothing:
        return f"nothing to do: {there}, all there already"
    return f"{there}; {count(built.made, 'job')} made, {built.cached:,} from the cache"


def _plan_lines(built: Built) -> list[str]:
    wide = max((len(f"{one.cell.base.id} {one.cell.component}") for one in built.cells), default=0)
    lines = [f"{'base, component':<{wide}}  from       {'bytes':>14}        saves, in all  kept"]
    for one in built.cells:
        name = f"{one.cell.base.id} {one.cell.component}"
        kept = f"{'yes' if one.choice.kept else 'no'} ({one.choice.why})"
        saves = f"{one.choice.saves:>20,}" if one.choice.kept and one.choice.saves else f"{'–':>20}"
        lines.append(f"{name:<{wide}}  {one.cell.start:<9}  {one.size:>14,} {saves}  {kept}")
    served = built.served
    assert served is not None
    rows = (
        ("whole files alone", served.whole),
        ("deltas from the baselines too", served.baselines),
        ("the letters that are kept too", served.chosen),
    )
    lines.append("")
    lines += [f"{words:<31} {total:>20,} bytes served, {share(total, served.whole)}" for words, total in rows]
    lines.append(f"{'':<31} {served.stored:>20,} bytes to store")
    return lines
