"""``deltaseal fleet``: many devices, in one database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltaseal._version import __version__
from deltaseal.cli.app import App, pass_app
from deltaseal.cli.exporting import write_folder
from deltaseal.cli.fleet_words import (
    exposure_lines,
    ingested_lines,
    played_lines,
    status_lines,
)
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import DIRECTORY, FILE, PATH, PLACE, force_option, json_option, output_option
from deltaseal.cli.progress import bar
from deltaseal.cli.reading import load_private, load_trust, read_text
from deltaseal.cli.signing import passphrase_option, trust_option
from deltaseal.cli.words import count
from deltaseal.errors import DeltasealError, UsageError

if TYPE_CHECKING:
    from deltaseal.fleet import Fleet, Limits
    from deltaseal.repo import Source
    from deltaseal.report import Enrolment
    from deltaseal.trust import UnverifiedDocument

__all__ = ["fleet"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_SPOOLS = (".reports", ".enrolment")


def fleet_option(command: Decorated) -> Decorated:
    """``--fleet``: which one."""
    option = click.option(
        "--fleet",
        "path",
        type=PATH,
        envvar="DELTASEAL_FLEET",
        default="fleet.db",
        show_default=True,
        metavar="FILE",
        help="The database of the fleet; also from DELTASEAL_FLEET.",
    )
    return option(command)


def limits_options(command: Decorated) -> Decorated:
    """The shares past which something is recommended."""
    pause = click.option(
        "--pause-at",
        type=click.IntRange(1, 100),
        default=2,
        show_default=True,
        metavar="PERCENT",
        help="Recommend to pause where so many failed, of those that finished.",
    )
    advance = click.option(
        "--advance-at",
        type=click.IntRange(1, 100),
        default=80,
        show_default=True,
        metavar="PERCENT",
        help="Recommend to advance where so many finished, of those that are in and not silent.",
    )
    return pause(advance(command))


@click.group(cls=Group)
def fleet() -> None:
    """Enrol devices, take in their reports, and say who is still exposed.

    Only enrolled devices count, each once, by what it signed itself. Nothing here moves a rollout: `rollout`
    does that, and a person.
    """


@fleet.command()
@fleet_option
@trust_option
@json_option
@pass_app
def create(app: App, path: Path, trust: Path) -> None:
    """Make a new fleet, which believes what the trust file says."""
    from deltaseal.fleet import create_fleet

    create_fleet(path, load_trust(trust)).close()
    app.done({"fleet": str(path)}, f"{path}: a fleet of no devices yet")


@fleet.command()
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="ENROLMENT...")
@fleet_option
@click.option("--again", is_flag=True, help="Also devices that were made anew, with another key.")
@json_option
@pass_app
def enroll(app: App, files: tuple[Path, ...], path: Path, again: bool) -> None:
    """Enrol the devices that wrote these files with `device enrolment`; all of them, or none.

    Take them from the devices themselves: who enrols a stranger's file counts a stranger.
    """
    from deltaseal.fleet import enroll as enrol

    with _open(path) as opened:
        done = enrol(opened, _enrolments(files), now=app.now, again=again)
    counts = f"{count(done.new, 'new device')}, {done.known:,} known already, {done.changed:,} made anew"
    app.done(done.to_json(), f"{path}: {counts}")


@fleet.command()
@click.argument("source", type=PLACE)
@fleet_option
@json_option
@pass_app
def follow(app: App, source: str, path: Path) -> None:
    """Take in what a publisher offers: its catalogues, improvements and phases.

    SOURCE is a folder of offers or a repository: a folder, or the URL of an object store. Run it whenever
    something moved: what is not known here is counted as not there.
    """
    from deltaseal.fleet import follow as take

    with _open(path) as opened:
        news = take(opened, _source(source), now=app.now)
    for error in news.left_out:
        app.say(f"deltaseal: left out: {error.reason}: {error.sentence}")
    parts = [count(len(news.catalogues), "new catalogue"), count(len(news.improvements), "new improvement")]
    app.done(news.to_json(), f"{path}: {', '.join(parts)}, {count(news.moves, 'move')} of rollouts")


@fleet.command()
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="FILE|DIR...")
@fleet_option
@click.option("--consume", is_flag=True, help="Remove each file once what counts of it is durable.")
@click.option("--strict", is_flag=True, help="Exit with the code of the first refusal, if there is one.")
@limits_options
@json_option
@pass_app
def ingest(
    app: App,
    paths: tuple[Path, ...],
    path: Path,
    consume: bool,
    strict: bool,
    pause_at: int,
    advance_at: int,
) -> int:
    """Take in reports: files, or all that end in .reports in a folder.

    Each is verified with its device's enrolled key; forged, replayed, future and misplaced ones are told, and
    count nothing. At the end it says what it recommends.
    """
    from deltaseal.fleet import ingest as take
    from deltaseal.fleet import publisher_of, recommendations

    done = partial(_remove, paths) if consume else _nothing
    with _open(path) as opened:
        result = take(opened, _files(paths, ".reports"), now=app.now, done=done)
        limits = _limits(pause_at, advance_at)
        advice = [one for _, one in recommendations(opened, publisher_of(opened), now=app.now, limits=limits)]
    values = {**result.to_json(), "recommendations": [one.to_json() for one in advice]}
    app.report(values, lambda: ingested_lines(result, advice))
    return result.refusals[0].error.exit_code if strict and result.refusals else 0


@fleet.command()
@fleet_option
@limits_options
@json_option
@pass_app
def status(app: App, path: Path, pause_at: int, advance_at: int) -> None:
    """Say how far each improvement has come on the enrolled devices, and what is recommended."""
    from deltaseal.fleet import SILENT_AFTER, publisher_of, recommendations, timings_of

    with _open(path) as opened:
        publisher = publisher_of(opened)
        found = recommendations(opened, publisher, now=app.now, limits=_limits(pause_at, advance_at))
        took = {progress.id: timings_of(opened, progress.id) for progress, _ in found}
        (devices,) = opened.one("SELECT count(*) FROM devices") or (0,)
        (heard,) = opened.one("SELECT count(*) FROM devices WHERE heard > ?", (app.now - SILENT_AFTER,)) or (
            0,
        )
    values = {
        "devices": devices,
        "heard": heard,
        "improvements": [
            {
                **progress.to_json(),
                "recommendation": one.to_json(),
                "took": each.to_json() if (each := took[progress.id]) else None,
            }
            for progress, one in found
        ],
    }
    app.report(values, lambda: status_lines(devices, heard, found, publisher, took))


@fleet.command()
@click.argument("cve")
@fleet_option
@click.option("--plot", type=PATH, metavar="SVG", help="Write the open devices over time as a picture too.")
@force_option
@json_option
@pass_app
def exposure(app: App, cve: str, path: Path, plot: Path | None, force: bool) -> None:
    """Say how many enrolled devices are still open to CVE: by day, by base, and why.

    A device is closed where its base includes the fix, or it reports an improvement with it as applied. One
    that says nothing is open.
    """
    from deltaseal.fleet import exposure_to, publisher_of
    from deltaseal.fleet.plot import exposure_plot
    from deltaseal.storage import write_output

    with _open(path) as opened:
        found = exposure_to(opened, publisher_of(opened), cve, now=app.now)
    if plot is not None:
        write_output(plot, [exposure_plot(found, alone=True).encode()], force=force)
    app.report(found.to_json(), lambda: exposure_lines(found))


@fleet.command()
@fleet_option
@output_option("PAGE")
@force_option
@pass_app
def page(app: App, path: Path, output: Path, force: bool) -> None:
    """Write the fleet as one page for a browser, which loads nothing else.

    Who is open to which CVE and why, how far each improvement has come, what failed, what was refused.
    """
    from deltaseal.fleet import publisher_of
    from deltaseal.fleet.page import fleet_page
    from deltaseal.storage import write_output

    with _open(path) as opened:
        written = fleet_page(opened, publisher_of(opened), now=app.now)
    write_output(output, [written.encode()], force=force)
    app.done({"page": str(output)}, f"{output}: who is still exposed")


@fleet.command()
@fleet_option
@click.option(
    "--as",
    "kind",
    type=click.Choice(["jamf", "intune", "openvex", "audit"]),
    required=True,
    help="For which tool.",
)
@click.option("--key", type=FILE, metavar="KEY", help="For audit: sign it with this key file.")
@click.option(
    "--store",
    default="/var/lib/deltaseal",
    show_default=True,
    metavar="DIR",
    help="For jamf and intune: the folder of the device on each device.",
)
@passphrase_option
@output_option("FILE or DIR")
@force_option
@pass_app
def export(
    app: App,
    path: Path,
    kind: str,
    key: Path | None,
    store: str,
    passphrase_file: Path | None,
    output: Path,
    force: bool,
) -> None:
    """Say it in the words of another tool.

    jamf: a folder with the extension attribute, and its value for each Mac. intune: a folder with a policy
    for each base, and the scripts. openvex: known vulnerabilities on each base and letter that is out there.
    audit: the newest report of each device as it signed it, and what was refused, signed with --key.
    """
    if (kind == "audit") != (key is not None):
        raise UsageError("--key signs an audit, and nothing else", hint="an audit needs it")
    with _open(path) as opened:
        made = _exported(app, opened, kind, key, store, passphrase_file)
    if isinstance(made, dict):
        write_folder(app, output, {name: text.encode() for name, text in made.items()}, force=force)
        return
    from deltaseal.storage import write_output

    size = write_output(output, made, force)
    app.done({"size": size}, f"{output}: {size:,} bytes")


def _exported(
    app: App, opened: Fleet, kind: str, key: Path | None, store: str, passphrase_file: Path | None
) -> dict[str, str] | list[bytes]:
    from deltaseal.fleet import exports, publisher_of

    publisher = publisher_of(opened)
    if kind == "jamf":
        return exports.jamf(opened, publisher, store=store)
    if kind == "intune":
        return exports.intune(publisher, store=store)
    if kind == "openvex":
        program = f"deltaseal {__version__}"
        return [exports.openvex(opened, publisher, now=app.now, program=program).encode()]
    assert key is not None, "checked before"
    return list(exports.audit_lines(opened, made=app.now, signer=load_private(key, passphrase_file)))


@fleet.command()
@click.argument("scenario", type=FILE)
@click.option("--devices", type=click.IntRange(1, 10_000_000), help="Instead of as many as the file says.")
@click.option("--plot", type=PATH, metavar="SVG", help="Write the curves of two plans as a picture.")
@force_option
@json_option
@pass_app
def simulate(app: App, scenario: Path, devices: int | None, plot: Path | None, force: bool) -> None:
    """Play the rollouts of the file SCENARIO over many devices, by the rules that devices go by.

    Says for each plan who has it when, what was downloaded, who is left and why; the first plan is compared
    with the others. The example rollout.toml explains the form.
    """
    from dataclasses import replace

    from deltaseal.fleet.plot import played_plot
    from deltaseal.fleet.simulate import play
    from deltaseal.fleet.simulation_file import Simulation
    from deltaseal.storage import write_output

    read = Simulation.loads(read_text(scenario))
    read = replace(read, devices=devices or read.devices)
    played = []
    for plan in read.plans:
        with bar(app, f"playing {plan.name}") as shown:
            played.append(play(read, plan, progress=partial(shown.step, "playing")))
    if plot is not None:
        write_output(plot, [played_plot(played).encode()], force=force)
    app.report({"plans": [one.to_json() for one in played]}, lambda: played_lines(read, played))


@fleet.command()
@fleet_option
@click.option("--inbox", type=DIRECTORY, required=True, metavar="DIR", help="The folder for what comes.")
@click.option("--listen", default="127.0.0.1:8420", show_default=True, metavar="HOST:PORT", help="Where.")
@pass_app
def receive(app: App, path: Path, inbox: Path, listen: str) -> None:
    """Take reports over by HTTP until stopped; `fleet ingest INBOX --consume` takes them in.

    Only what an enrolled device signed is stored. It speaks no TLS: put it behind something that does.
    """
    from deltaseal.fleet.receive import receiver

    _open(path).close()
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise UsageError(f"{listen!r} is no address", hint="give it as HOST:PORT")
    with receiver(host, int(port), fleet=path, inbox=inbox) as server:
        where, number = server.server_address[:2]
        app.say(f"taking reports over at http://{where!s}:{number}/")
        server.serve_forever()


def _open(path: Path) -> Fleet:
    from deltaseal.fleet import open_fleet

    return open_fleet(path)


def _source(place: str) -> Source:
    from deltaseal.repo import DirectorySource, is_repository, open_folder

    if "://" not in place and not is_repository(Path(place)):
        return DirectorySource(Path(place))
    from deltaseal.fleet.repositories import RepositorySource

    if place.lower().startswith(("http://", "https://")):
        raise UsageError(
            "a fleet reads a repository where it lies: over HTTP one asks as one device",
            hint="name its folder, its object store, or what `deltaseal repo export` made of it",
            url=place,
        )
    return RepositorySource(open_folder(place))


def _limits(pause_at: int, advance_at: int) -> Limits:
    from deltaseal.fleet import Limits

    return Limits(pause_at=pause_at, advance_at=advance_at)


def _names(paths: Sequence[Path], ending: str) -> Iterator[Path]:
    """The files that are named, and those of that ending in folders that are, in the order of their names."""
    from deltaseal.storage import RealDisk

    disk = RealDisk()
    for path in paths:
        if path.is_dir():
            with disk.open_root(path) as at:
                yield from (path / name for name in disk.names(at) if name.endswith(ending))
        else:
            yield path


def _files(
    paths: Sequence[Path], ending: str
) -> Iterator[tuple[str, Callable[[], Iterator[UnverifiedDocument]]]]:
    for path in _names(paths, ending):
        yield str(path), partial(_documents, path)


def _documents(path: Path) -> Iterator[UnverifiedDocument]:
    from deltaseal.fleet import documents_of
    from deltaseal.storage import FileSource

    with FileSource(path) as source:
        yield from documents_of(source)


def _enrolments(paths: Sequence[Path]) -> Iterator[Enrolment]:
    from deltaseal.report import read_enrolment

    for path in _names(paths, ".enrolment"):
        try:
            for document in _documents(path):
                yield read_enrolment(document)
        except DeltasealError as error:
            error.sentence = f"{path}: {error.sentence}"
            raise


def _remove(paths: Sequence[Path], name: str) -> None:
    from deltaseal.storage import RealDisk

    disk, path = RealDisk(), Path(name)
    with disk.open_root(path.parent) as at:
        disk.unlink(at, path.name)


def _nothing(name: str) -> None:
    """For files that stay."""
