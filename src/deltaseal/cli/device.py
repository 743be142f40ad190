"""``deltaseal device``: one device, in a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.device_work import (
    absolute,
    believed,
    ended_in_words,
    open_at,
    or_nothing,
    put,
    show,
    sources_at,
    working,
)
from deltaseal.cli.exporting import (
    audit_words,
    checked_audit,
    exported,
    exported_files,
    rescue_program,
    verified_audit,
    write_folder,
)
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import (
    DIRECTORY,
    FILE,
    PATH,
    PLACE,
    force_option,
    json_option,
    output_option,
    store_option,
)
from deltaseal.cli.progress import bar
from deltaseal.cli.reading import load_document
from deltaseal.cli.shown import finding_lines, history_lines, process_lines, watch_line
from deltaseal.cli.signing import trust_option
from deltaseal.errors import UsageError

__all__ = ["device"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_sources_option = click.option(
    "--source",
    "sources",
    type=PLACE,
    multiple=True,
    required=True,
    metavar="DIR|URL",
    help="Where offers come from: a repository (URL or folder), or a folder of bundles, device manifests and "
    "catalogues. Repeatable.",
)
_from_option = click.option(
    "--from",
    "trees",
    type=DIRECTORY,
    required=True,
    metavar="DIR",
    help="The folder that holds one directory for each component of the base.",
)
_exit_code_option = click.option(
    "--exit-code", is_flag=True, help="Exit with 3 where there is nothing to do."
)


_every_option = click.option(
    "--every",
    type=click.IntRange(1, 10_080),
    default=60,
    show_default=True,
    metavar="MINUTES",
    help="How often to look.",
)


_report_to_option = click.option(
    "--report-to",
    multiple=True,
    metavar="URL|DIR",
    help="Send signed reports of this device to its fleet: an address (HTTP POST) or a folder. Repeatable.",
)


def _common(command: Decorated) -> Decorated:
    return store_option(json_option(command))


@click.group(cls=Group)
def device() -> None:
    """Create, update and look at a device, which is a folder.

    A device can always say what it has, since when, what it fixes, and why anything was refused. Every
    command that writes first mends what a power cut may have left.
    """


@device.command()
@_common
@click.option("--base", type=FILE, required=True, metavar="BASE", help="The signed base that it is on.")
@_from_option
@trust_option
@click.option(
    "--source",
    "sources",
    type=PLACE,
    multiple=True,
    metavar="DIR|URL",
    help="With a root.json as --trust: the repository whose root it is. Repeatable, for its mirrors.",
)
@click.option("--model", required=True, help="Such as Mac15,6.")
@click.option(
    "--channel",
    type=click.Choice(["seed", "stable"]),
    default="stable",
    show_default=True,
    help="Which offers it takes.",
)
@pass_app
def create(
    app: App,
    store: Path,
    base: Path,
    trees: Path,
    trust: Path,
    sources: tuple[str, ...],
    model: str,
    channel: str,
) -> None:
    """Make a device in a new folder, with a copy of its components and a random id.

    With a repository's root.json as --trust, the device believes that repository from then on. What it finds
    is recorded as it is. Where that differs from the base it says so, and takes no improvement.
    """
    from deltaseal.device import create as make

    signed = load_document(base)
    keys, metadata = believed(app, trust, signed, model, sources)
    with bar(app, "copying and hashing the components"):
        made = make(
            store,
            base=signed,
            trees=trees,
            trust=keys,
            model=model,
            channel=channel,
            edge=app.edge,
            metadata=metadata,
        )
    show(app, made.status())


@device.command()
@_common
@output_option("REQUEST")
@force_option
@pass_app
def request(app: App, store: Path, output: Path, force: bool) -> None:
    """Ask for a device manifest of this device's own: write its id and a fresh nonce for `manifest issue`."""
    from deltaseal.storage import open_output

    with open_output(output, force=force) as out:  # first: a nonce is spent on no refusal
        asked = open_at(app, store).request()
        out.write(asked.dumps())
    app.done(asked.personal.to_json(), f"{output}: a request of device {asked.personal.device}")


@device.command()
@_common
@_sources_option
@_exit_code_option
@pass_app
def update(app: App, store: Path, sources: tuple[str, ...], exit_code: bool) -> int:
    """Take the best improvement that is offered, as a device does by itself.

    It honours holds, removals, phases and the owner's policy; what was begun is finished first.
    """
    with working(app, store) as at_work:
        return or_nothing(app, exit_code, lambda: at_work.update(sources_at(app, sources)))


@device.command()
@click.argument("id")
@_common
@_sources_option
@click.option("--retry", is_flag=True, help="Also if it failed here before and is held.")
@_exit_code_option
@pass_app
def install(app: App, id: str, store: Path, sources: tuple[str, ...], retry: bool, exit_code: bool) -> int:
    """Take the improvement ID because a person asks for it; who did is recorded."""
    with working(app, store) as at_work:
        return or_nothing(app, exit_code, lambda: at_work.install(id, sources_at(app, sources), retry=retry))


@device.command()
@_common
@click.option(
    "--html",
    type=PATH,
    metavar="PAGE",
    help="Write it as one page for a browser, history too, which loads nothing else.",
)
@force_option
@pass_app
def status(app: App, store: Path, html: Path | None, force: bool) -> None:
    """Say what the device is, what it has and since when, what is outstanding, and what comes next."""
    opened = open_at(app, store)
    found = opened.status()
    if html is None:
        show(app, found)
        return
    from deltaseal.report import status_page
    from deltaseal.storage import write_output

    page = status_page(found, opened.history(), store=str(store.resolve()), now=app.edge.now())
    write_output(html, [page.encode()], force=force)
    app.done({"page": str(html)}, f"{html}: the status of {found.name}")


@device.command()
@_common
@pass_app
def history(app: App, store: Path) -> None:
    """Say what happened to the device, oldest first, from its journal."""
    entries = open_at(app, store).history()
    app.report({"entries": [one.to_json() for one in entries]}, lambda: history_lines(entries))


@device.command()
@_common
@pass_app
def processes(app: App, store: Path) -> None:
    """Say which running programs still use what was replaced, and what to start again.

    A file that a program has mapped is known by its path in the store, by device and inode, or by its
    build-id. Nothing is started or stopped. What other users run is seen by root only.
    """
    found = open_at(app, store).processes()
    app.report(found.to_json(), lambda: process_lines(found))


@device.command()
@_common
@pass_app
def verify(app: App, store: Path) -> int:
    """Hash everything and compare it with the device's own record. Changes nothing.

    Exits with the code of the first finding.
    """
    with bar(app, "verifying"):
        findings = open_at(app, store).verify()
    app.report(
        {"findings": [one.to_json() for one in findings], "good": not findings},
        lambda: finding_lines(findings) or [f"{store}: every byte is as the device's record says"],
    )
    return findings[0].exit_code if findings else 0


@device.command()
@_common
@click.option(
    "--as",
    "kind",
    type=click.Choice(["apple", "jamf", "intune", "openvex", "audit"]),
    required=True,
    help="For which tool.",
)
@click.option(
    "--source",
    "sources",
    type=PLACE,
    multiple=True,
    metavar="DIR|URL",
    help="For openvex: a folder with the catalogue, which names what the device does not have. Repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="Where to; standard output by default. For intune a new folder: the policy, and the scripts.",
)
@force_option
@pass_app
def export(
    app: App, store: Path, kind: str, sources: tuple[str, ...], output: Path | None, force: bool
) -> None:
    """Say it in the words of another tool: device management, compliance, vulnerability scanners.

    apple: status items of its device management. jamf: the answer of an extension attribute. intune: what
    its discovery script answers; with -o DIR the policy and the scripts. openvex: known vulnerabilities,
    fixed or not. audit: as `device audit`.
    """
    if sources and kind != "openvex":
        raise UsageError("--source is only for --as openvex")
    opened = open_at(app, store)
    if kind == "intune" and output is not None:
        write_folder(app, output, exported_files(opened, store=store), force=force)
        return
    put(exported(app, opened, kind, lambda: sources_at(app, sources)), output, force=force)


@device.command()
@_common
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Where to; standard output by default.")
@force_option
@click.option(
    "--check", type=FILE, metavar="FILE", help="Verify an audit that was made before, of any device."
)
@click.option(
    "--key", type=FILE, metavar="PUBLIC", help="With --check: the public key that must have signed."
)
@pass_app
def audit(
    app: App, store: Path, output: Path | None, force: bool, check: Path | None, key: Path | None
) -> None:
    """Verify the journal's chain and write all of it as signed lines of JSON; or verify such a file.

    A damaged journal is written too, with what is wrong, and ends with E_DAMAGED.
    """
    if check is not None:
        summary = checked_audit(check, key)
        app.report(summary.to_json(), lambda: audit_words(summary))
        return
    if key is not None:
        raise UsageError("--key is only for --check")
    lines = open_at(app, store).audit()
    put(b"".join(lines), output, force=force)
    summary = verified_audit(lines)
    if output is not None:
        app.done(summary.to_json(), f"{output}: {audit_words(summary)[0]}")


@device.command()
@_common
@output_option("ENROLMENT")
@force_option
@pass_app
def enrolment(app: App, store: Path, output: Path, force: bool) -> None:
    """Write who this device is and its public key, signed with that key, for `fleet enroll`."""
    from deltaseal.storage import write_output

    opened = open_at(app, store)
    write_output(output, [opened.enrolment()], force=force)
    id = opened.identity().id
    app.done({"device": id}, f"{output}: the enrolment of device {id}")


@device.command()
@_common
@_sources_option
@_every_option
@click.option("--once", is_flag=True, help="Look once and end, as a timer wants it; else look until stopped.")
@_report_to_option
@pass_app
def watch(
    app: App, store: Path, sources: tuple[str, ...], every: int, once: bool, report_to: tuple[str, ...]
) -> int:
    """Look for improvements by itself, and take what the owner's policy lets in.

    Holds, phases, deadlines and retry times are honoured. Programs in watch.d of the store may say how full
    the battery is (battery: prints a percentage) and whether the network costs by the byte (metered: ends
    with 0 for yes, 1 for no) where the system does not; report gets what was done, as JSON. With --once the
    exit code is that of the refusal, if there was one. Reports that nobody takes over wait in the store.
    """
    from deltaseal.device import look, open_device, report_look, tell, watching_edge

    edge = watching_edge(store, app.edge)
    at_work = open_device(store, edge=edge)
    while True:
        with ended_in_words(app):
            found = look(at_work, lambda: sources_at(app, sources), edge)
        app.report_line(found.to_json(), watch_line(found))
        if failed := tell(found, store, edge):
            app.say(f"deltaseal: {failed}")
        if report_to and (failed := report_look(store, found, report_to, edge)):
            app.say(f"deltaseal: {failed}")
        if once:
            return found.exit_code
        edge.sleep(every * 60)


@device.command()
@_common
@_sources_option
@_every_option
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="The new folder to write.")
@_report_to_option
@force_option
@pass_app
def units(
    app: App,
    store: Path,
    sources: tuple[str, ...],
    every: int,
    output: Path,
    report_to: tuple[str, ...],
    force: bool,
) -> None:
    """Write systemd units: a timer that looks for improvements, and the rescue that runs at each boot."""
    from deltaseal.device import systemd_units

    open_at(app, store)
    files = systemd_units(
        program=Path(sys.argv[0]).resolve(),
        rescue=rescue_program(),
        store=store.resolve(),
        sources=[absolute(place) for place in sources],
        every=every,
        report_to=[absolute(place) for place in report_to],
    )
    write_folder(app, output, {name: text.encode() for name, text in files.items()}, force=force)


@device.command()
@_common
@_exit_code_option
@pass_app
def remove(app: App, store: Path, exit_code: bool) -> int:
    """Take the improvement off: back to the baseline, byte for byte; works offline and on a full disk.

    Its fixes are then open again. It is not installed again by itself, but a higher letter is.
    """
    with working(app, store) as at_work:
        return or_nothing(app, exit_code, at_work.remove)


@device.command()
@_common
@pass_app
def recover(app: App, store: Path) -> None:
    """Mend what a power cut or damage left: verify what is in use, and leave it if it is damaged."""
    with working(app, store) as at_work:
        show(app, at_work.recover())


@device.command()
@_common
@click.option("--base", type=FILE, required=True, metavar="BASE", help="The signed base to put it on.")
@_from_option
@_exit_code_option
@pass_app
def rebase(app: App, store: Path, base: Path, trees: Path, exit_code: bool) -> int:
    """Put the device on another base, as a full update does, or on its own base anew.

    The components must be byte for byte those of the signed base. What is applied ends with it; what was
    held or removed on another base is forgotten. It is the one way out where nothing on the device is good.
    """
    with working(app, store) as at_work:
        return or_nothing(app, exit_code, lambda: at_work.rebase(load_document(base), trees))
