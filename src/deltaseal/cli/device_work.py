"""What the commands of a device share: opening it and its sources, working on it, saying how that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltaseal.cli.app import App, EndedBySignal
from deltaseal.cli.progress import bar
from deltaseal.cli.reading import load_trust
from deltaseal.cli.shown import status_lines
from deltaseal.errors import NothingToDo, UsageError, WillResumeError
from deltaseal.verbs.kinds import read_whole

if TYPE_CHECKING:
    from deltaseal.device import Device
    from deltaseal.repo import Source
    from deltaseal.report import Status
    from deltaseal.trust import Trust, UnverifiedDocument

__all__ = [
    "absolute",
    "believed",
    "ended_in_words",
    "open_at",
    "or_nothing",
    "put",
    "show",
    "sources_at",
    "working",
]

_GOES_ON = "{}; what was begun goes on with the next run"
_STEPS = {"fetch": "downloading", "stage": "building the new components"}


def believed(
    app: App, trust: Path, base: UnverifiedDocument, model: str, sources: Sequence[str]
) -> tuple[Trust, Mapping[str, bytes] | None]:
    """Whose documents a new device believes: by a trust file, or by a root and its repository."""
    from deltaseal.manifest import Base
    from deltaseal.repo import Repository, first_files

    data = read_whole(trust)
    if b'"signatures"' not in data:
        if sources:
            raise UsageError(
                "--source of create is for a device that believes a repository",
                hint="give the root.json of the repository as --trust",
            )
        return load_trust(trust), None
    if not sources:
        raise UsageError(
            f"{str(trust)!r} is the root of a repository, which must be looked at",
            hint="name the repository with --source",
        )
    claimed = Base.loads(base.body)  # only to know what to look for; the base is verified by what is found
    mirrors = [Repository.at(place, proxy_for=app.edge.proxy_for) for place in sources]
    return first_files(data, mirrors, os=claimed.os, build=claimed.build, model=model, now=app.now)


def absolute(place: str) -> str:
    """A place as a unit names it; a URL stays."""
    return place if "://" in place else str(Path(place).resolve())


def open_at(app: App, store: Path) -> Device:
    """The device in a store."""
    from deltaseal.device import open_device

    return open_device(store, edge=app.edge)


@contextmanager
def working(app: App, store: Path) -> Iterator[Device]:
    """A device at work, with a bar; interrupted by a person, it says that it will go on."""
    from deltaseal.device import open_device

    with bar(app, "looking") as shown:

        def progress(what: str, done: int, total: int) -> None:
            shown.step(_STEPS.get(what, what), done, total)

        with ended_in_words(app):
            yield open_device(store, edge=app.edge, progress=progress)


@contextmanager
def ended_in_words(app: App) -> Iterator[None]:
    """Whoever interrupts or ends a device at work is told that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise WillResumeError(_GOES_ON.format("interrupted")) from error
    except EndedBySignal as ended:
        raise WillResumeError(_GOES_ON.format(f"ended by {ended.name}")) from ended


def sources_at(app: App, places: Sequence[str]) -> list[Source]:
    """Repositories and folders; what is no offer in a folder is said, and left out."""
    from deltaseal.repo import DirectorySource, Repository, is_repository

    sources: list[Source] = []
    for place in places:
        if "://" in place or is_repository(Path(place)):
            sources.append(Repository.at(place, proxy_for=app.edge.proxy_for))
            continue
        folder = DirectorySource(Path(place))
        for fault in folder.faults:
            app.say(f"deltaseal: {folder.name}/{fault.name} is left out: {fault.error.sentence}")
        sources.append(folder)
    return sources


def put(data: bytes, output: Path | None, *, force: bool) -> None:
    """Text for a file, or for standard output."""
    from deltaseal.storage import write_output

    if output is None:
        click.echo(data.decode(), nl=False)
    else:
        write_output(output, [data], force=force)


def or_nothing(app: App, exit_code: bool, act: Callable[[], Status]) -> int:
    """Do it and show the status; where there is nothing to do, say why, which is no failure."""
    try:
        show(app, act())
    except NothingToDo as nothing:
        app.done({"nothing": nothing.to_json()}, f"nothing to do: {nothing.sentence}", news=True)
        return nothing.exit_code if exit_code else 0
    return 0


def show(app: App, found: Status) -> None:
    """The status of a device, in words or as JSON."""
    app.report(found.to_json(), lambda: status_lines(found))
