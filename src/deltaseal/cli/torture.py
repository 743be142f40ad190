"""``deltaseal torture``: cut the power, fail the disk, bend the bytes; nothing wrong may come of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Command
from deltaseal.cli.options import DIRECTORY, FILE, PATH, force_option, json_option
from deltaseal.cli.progress import bar
from deltaseal.errors import ChecksFailedError, UsageError

if TYPE_CHECKING:
    from deltaseal.lab.torture import Given, Part, Report

__all__ = ["torture"]

_KINDS = ("power", "faults", "kill", "bent", "swap", "hostile")


@click.command(cls=Command)
@click.option(
    "--full", is_flag=True, help="Every choice of what survives a cut, not a part of them; takes long."
)
@click.option(
    "--bundle", type=FILE, metavar="BUNDLE", help="Test with this bundle, not the built-in scenario."
)
@click.option("--base", type=FILE, metavar="BASE", help="The signed base that the bundle is for.")
@click.option(
    "--from", "trees", type=DIRECTORY, metavar="DIR", help="The base's components, one directory each."
)
@click.option("--trust", type=FILE, metavar="ROOT", help="The trust file that knows who signed them.")
@click.option("--model", default="", help="The device's model; else the first that the bundle lists.")
@click.option(
    "--only",
    type=click.Choice(_KINDS),
    multiple=True,
    help="Only this kind of test; repeatable. Without it all, and the whole is judged.",
)
@click.option(
    "--applier",
    metavar="COMMAND",
    help="Test somebody else's applier: a command with the verbs of docs/spec/applier-protocol.md.",
)
@click.option("--old", type=DIRECTORY, metavar="DIR", help="With --applier: the tree to begin with.")
@click.option("--new", type=DIRECTORY, metavar="DIR", help="With --applier: the tree that the update makes.")
@click.option("--update", type=PATH, metavar="PATH", help="With --applier: what it is given to update from.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    help="Processes to use; they change nothing but the time.  [default: cores]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is left to chance.")
@click.option("--junit", type=PATH, metavar="FILE", help="Write the result as JUnit XML.")
@force_option
@json_option
@pass_app
def torture(
    app: App,
    full: bool,
    bundle: Path | None,
    base: Path | None,
    trees: Path | None,
    trust: Path | None,
    model: str,
    only: tuple[str, ...],
    applier: str | None,
    old: Path | None,
    new: Path | None,
    update: Path | None,
    jobs: int | None,
    seed: int,
    junit: Path | None,
    force: bool,
) -> int:
    """Prove that no power cut, full disk or hostile file leaves a device between two versions.

    Runs the real updater over a simulated disk, cuts the power at every operation, makes each fail, kills it,
    bends and swaps what it reads, and plays hostile input. Exits with 30 where anything is found.
    """
    if junit is not None and junit.exists() and not force:
        raise UsageError(f"{str(junit)!r} exists", hint="--force replaces it")  # before a long run
    if applier is not None:
        report = _foreign(app, applier, old, new, update, full=full, seed=seed)
    else:
        given = _given(bundle, base, trees, trust, model)
        report = _own(app, given, full=full, only=only, jobs=jobs or os.cpu_count() or 1, seed=seed)
    return _tell(app, report, junit, force)


def _given(
    bundle: Path | None, base: Path | None, trees: Path | None, trust: Path | None, model: str
) -> Given | None:
    from deltaseal.lab.torture import Given

    if bundle is None and base is None and trees is None and trust is None:
        return None
    if bundle is None or base is None or trees is None or trust is None:
        raise UsageError("a bundle of your own needs --bundle, --base, --from and --trust together")
    return Given(bundle, base, trees, trust, model)


def _own(app: App, given: Given | None, *, full: bool, only: tuple[str, ...], jobs: int, seed: int) -> Report:
    from deltaseal.lab.torture import KINDS
    from deltaseal.lab.torture import torture as run

    with bar(app, "torturing") as shown:
        ended: list[str] = []

        def done(part: Part) -> None:
            ended.append(part.name)
            shown.step(f"torturing ({len(ended)} parts done)", 0, 0)

        return run(given, full=full, kinds=only or KINDS, processes=jobs, seed=seed, done=done)


def _foreign(
    app: App, applier: str, old: Path | None, new: Path | None, update: Path | None, *, full: bool, seed: int
) -> Report:
    from deltaseal.lab.torture import torture_applier

    if old is None or new is None or update is None:
        raise UsageError("--applier needs --old, --new and --update")
    with bar(app, "torturing"):
        return torture_applier(applier, old=old, new=new, update=update, full=full, seed=seed)


def _tell(app: App, report: Report, junit: Path | None, force: bool) -> int:
    from deltaseal.lab.torture import finding_lines, junit_xml, table
    from deltaseal.storage import write_output

    error = None if report.good else _found(report)
    values = report.to_json() if error is None else {**report.to_json(), "error": error.to_json()}
    app.report(values, lambda: table(report))
    if junit is not None:
        write_output(junit, [junit_xml(report)], force=force)
    if error is None:
        return 0
    if app.json:  # one object: the refusal is a part of it
        app.say(f"deltaseal: {error.reason}: {error.sentence}")
        return error.exit_code
    for line in finding_lines(report):
        app.say(line)
    raise error


def _found(report: Report) -> ChecksFailedError:
    count = report.found
    words = f"{count} finding{'s' if count != 1 else ''} of {report.subject}"
    return ChecksFailedError(words, findings=count)
