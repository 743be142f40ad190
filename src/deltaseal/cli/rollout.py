"""``deltaseal rollout``: how many devices an improvement is offered to, and taking it back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import FILE, PLACE, channel_option, json_option, phase_option
from deltaseal.cli.reading import load_trust
from deltaseal.cli.rollout_words import done_words, plan_lines, standing_lines
from deltaseal.cli.signing import Signing, signer_options
from deltaseal.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from deltaseal.fleet import Impact
    from deltaseal.fleet.places import Place
    from deltaseal.fleet.rollout import Plan, Rollout

__all__ = ["rollout"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _place_options(command: Decorated) -> Decorated:
    place = click.option(
        "--publisher",
        type=PLACE,
        required=True,
        metavar="PLACE",
        help="The publisher's folder of offers, or a repository: a folder, or the URL of an object store.",
    )
    trust = click.option(
        "--trust",
        type=FILE,
        metavar="FILE",
        help="For a folder of offers: the trust file that says whose signatures count.",
    )
    fleet = click.option(
        "--fleet",
        "fleet_path",
        type=FILE,
        envvar="DELTASEAL_FLEET",
        metavar="FILE",
        help="The database of a fleet, to say how many devices it concerns; also from DELTASEAL_FLEET.",
    )
    return place(trust(fleet(json_option(command))))


def _move_options(command: Callable[..., Any]) -> Callable[..., Any]:
    yes = click.option("--yes", is_flag=True, help="Do it without asking.")
    return _place_options(signer_options(yes(command)))


@click.group(cls=Group)
def rollout() -> None:
    """Say how many devices an improvement is offered to; pause it; take it back; bring a better one.

    Each command first says what it will do, and to how many devices where it knows them, and asks. A device
    that is in stays in: its place in an improvement's order never changes. A person may install ahead. In a
    repository the keys of its snapshot and timestamp sign too.
    """


@rollout.command()
@_place_options
@pass_app
def status(app: App, publisher: str, trust: Path | None, fleet_path: Path | None) -> None:
    """Say how each improvement stands: channel, phase, paused, withdrawn, until when it is offered."""
    from deltaseal.fleet.rollout import standing

    place = _place(app, publisher, trust)
    found = standing(place)
    impacts = [_impact(app, fleet_path, place, one.listed.bundle, one.permit) for one in found]
    values = [
        {**one.to_json(), "devices": impact.to_json() if impact else None}
        for one, impact in zip(found, impacts, strict=True)
    ]
    app.report({"improvements": values}, lambda: standing_lines(found, impacts, now=app.now))


@rollout.command("set")
@click.argument("id")
@phase_option(None)
@channel_option(None)
@_move_options
@pass_app
def set_(
    app: App, /, id: str, phase: int, channel: str | None, publisher: str, trust: Path | None, **more: Any
) -> None:
    """Offer the improvement ID to so many of 10,000 devices. As many as before: renew it for 7 days."""
    _move(app, publisher, trust, lambda moves: moves.set(id, phase=phase, channel=channel), **more)


@rollout.command()
@click.argument("id")
@_move_options
@pass_app
def pause(app: App, /, id: str, publisher: str, trust: Path | None, **more: Any) -> None:
    """Let no device begin with ID any more. What is applied stays, what is under way goes on."""
    _move(app, publisher, trust, lambda moves: moves.pause(id), **more)


@rollout.command()
@click.argument("id")
@_move_options
@pass_app
def resume(app: App, /, id: str, publisher: str, trust: Path | None, **more: Any) -> None:
    """Go on with ID where it was paused."""
    _move(app, publisher, trust, lambda moves: moves.resume(id), **more)


@rollout.command()
@click.argument("id")
@click.argument("action", type=click.Choice(["keep", "remove", "pin"]))
@_move_options
@pass_app
def withdraw(app: App, /, id: str, action: str, publisher: str, trust: Path | None, **more: Any) -> None:
    """Offer ID no longer, by order of the vendor, in a new catalogue that the release role signs.

    keep: leave it where it is. remove: devices go back to their baseline, also without a network once they
    have seen the order. pin: leave it there and offer nothing higher. The CVEs that are open again are named.
    """
    _move(app, publisher, trust, lambda moves: moves.withdraw(id, action), **more)


@rollout.command()
@click.argument("bundle", type=FILE)
@phase_option(100)
@channel_option("stable")
@click.option(
    "--expires-after",
    type=click.IntRange(1, 3_650),
    default=250,
    show_default=True,
    metavar="DAYS",
    help="How many days the improvement lives.",
)
@_move_options
@pass_app
def reissue(
    app: App,
    /,
    bundle: Path,
    phase: int,
    channel: str,
    expires_after: int,
    publisher: str,
    trust: Path | None,
    **more: Any,
) -> None:
    """Bring BUNDLE, a higher letter for a base that has one: into the catalogue, at a phase of its own.

    Both the release role and the personaliser sign; name the keys of both.
    """
    from deltaseal.storage import FileSource

    with FileSource(bundle) as source:
        _move(
            app,
            publisher,
            trust,
            lambda moves: moves.reissue(source, phase=phase, channel=channel, days=expires_after),
            **more,
        )


def _move(
    app: App,
    publisher: str,
    trust: Path | None,
    plan: Callable[[Rollout], Plan],
    *,
    fleet_path: Path | None,
    signing: Signing,
    yes: bool,
) -> None:
    """Plan, show, ask, carry out."""
    from deltaseal.fleet.rollout import Rollout, carry_out

    place = _place(app, publisher, trust)
    planned = plan(Rollout(place, app.now))
    permit = planned.permit or planned.before.permit
    impact = _impact(app, fleet_path, place, "", permit, planned)
    for line in plan_lines(planned, impact):
        app.say(line)
    if not yes:
        _ask()
    carry_out(planned, place, signing.signers())
    values = {
        "move": planned.move,
        "id": planned.manifest.id,
        "reopens": list(planned.reopens),
        "devices": impact.to_json() if impact else None,
    }
    app.done(values, done_words(planned), news=True)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise PolicyError(
            "nobody is there to be asked, and nothing was changed", hint="say --yes if it is meant"
        )
    if not click.confirm("Do it?", err=True):
        raise PolicyError("nothing was changed", hint="run it again when it is meant")


def _place(app: App, publisher: str, trust: Path | None) -> Place:
    from deltaseal.repo import is_repository, open_folder

    if "://" in publisher or is_repository(Path(publisher)):
        from deltaseal.fleet.repositories import RepositoryPlace

        if trust is not None:
            raise UsageError("a repository says itself whose signatures count", hint="leave --trust out")
        return RepositoryPlace(open_folder(publisher), now=app.now)
    from deltaseal.fleet.places import FolderPlace

    if trust is None:
        raise UsageError(
            "whose signatures count in a folder of offers?", hint="name a trust file with --trust"
        )
    return FolderPlace(Path(publisher), load_trust(trust), now=app.now)


def _impact(
    app: App, path: Path | None, place: Place, digest: str, permit: Any, plan: Plan | None = None
) -> Impact | None:
    """How many enrolled devices it concerns, where a fleet is named."""
    if path is None:
        return None
    from deltaseal.fleet import impact_of, open_fleet

    manifest = plan.manifest if plan else place.manifest(digest)
    with open_fleet(path) as fleet:
        return impact_of(fleet, manifest, before=plan.before.permit if plan else permit, after=permit)
