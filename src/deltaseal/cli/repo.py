"""``deltaseal repo``: a repository, from its first keys to what a device may fetch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import (
    DAY,
    FILE,
    MOMENT,
    expires_after_option,
    force_option,
    json_option,
    output_option,
    permit_options,
    scenario_options,
)
from deltaseal.cli.progress import bar
from deltaseal.cli.reading import read_text
from deltaseal.cli.signing import Signing, key_folder_options, optional_role_options, role_options, roles_of
from deltaseal.cli.words import count, moment
from deltaseal.errors import UsageError

if TYPE_CHECKING:
    from deltaseal.repo import Publisher, Report, Waiting

__all__ = ["repo"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_repo = click.argument("repo", metavar="REPO")


@click.group(cls=Group)
def repo() -> None:
    """Publish a repository: a folder that any static web server or object store serves.

    REPO is a folder, or the URL of an object store such as s3://bucket/folder. What is added waits until it
    is signed and published; no device sees it before.
    """


@repo.command()
@_repo
@click.option("--os", "systems", multiple=True, help="With --new-keys: a system, such as macos. Repeatable.")
@click.option(
    "--new-keys",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Make fresh keys for every role, in the standard numbers, in this new folder.",
)
@optional_role_options
@json_option
@pass_app
def init(
    app: App,
    repo: str,
    systems: tuple[str, ...],
    new_keys: Path | None,
    members: tuple[tuple[str, Path], ...],
    needed: tuple[tuple[str, int], ...],
) -> None:
    """Prepare a new repository: who may sign what. The first `publish` brings it to life.

    Roles: root, targets, snapshot, timestamp, personaliser, and release:OS for each system. Their keys are
    named with --role, or made with --new-keys, which is for trying things out: all of them in one place
    protect little.
    """
    from deltaseal.repo import Publisher, open_folder

    if (new_keys is None) != bool(members):
        raise UsageError("name keys with --role, or have them made with --new-keys and --os")
    if new_keys is None:
        roles = roles_of(members, needed)
    else:
        from deltaseal.bundle import save_keys
        from deltaseal.repo.timeline import make_roles

        if not systems:
            raise UsageError("--new-keys needs --os", hint="such as --os macos")
        names = [
            "root",
            "targets",
            "snapshot",
            "timestamp",
            "personaliser",
            *(f"release:{os}" for os in systems),
        ]
        roles, private = make_roles(names, random=app.edge.random)
        save_keys(private, new_keys)
    publisher = Publisher.create(open_folder(repo), roles, now=app.now)
    _say_waiting(
        app, publisher, f"{repo}: {count(len(roles), 'role')} prepared", {"roles": [r.name for r in roles]}
    )


@repo.command()
@_repo
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@json_option
@pass_app
def add(app: App, repo: str, files: tuple[Path, ...]) -> None:
    """Take in signed FILEs: bases, bundles, catalogues, device manifests. Each is verified first."""
    from deltaseal.storage import FileSource

    publisher = _publisher(app, repo)
    added = []
    for path in _in_order(files):
        with FileSource(path) as source:
            added.append(publisher.add(source))
    _say_waiting(app, publisher, f"{repo}: added {', '.join(added)}", {"added": added})


@repo.command()
@_repo
@click.argument("id")
@click.option("--model", "models", multiple=True, help="Only for this model; by default all of its bundle.")
@permit_options
@key_folder_options
@json_option
@pass_app
def offer(
    app: App,
    repo: str,
    id: str,
    models: tuple[str, ...],
    channel: str,
    phase: int,
    paused: bool,
    signing: Signing,
) -> None:
    """Permit the improvement ID of a catalogue: a static device manifest for each model.

    One that is offered again with another phase takes the place of the former. `publish` renews them.
    """
    publisher = _publisher(app, repo)
    signers = signing.signers()
    made = publisher.offer(
        id, signers=signers, models=models or None, channel=channel, phase=phase, paused=paused
    )
    words = f"{repo}: {id} is permitted for {count(len(made), 'model')}, to be published"
    app.done({"id": id, "models": [model for one in made for model in one.models or ()]}, words)


@repo.command()
@_repo
@click.argument("os", metavar="OS")
@click.option(
    "--minimum",
    type=click.IntRange(0),
    metavar="SEQUENCE",
    help="The lowest sequence that devices still take.",
)
@click.option(
    "--ends",
    type=(str, MOMENT),
    multiple=True,
    metavar="ID DATE",
    help="From when on an improvement is offered no more, earlier or later than before. Repeatable.",
)
@expires_after_option(30, 36_500)
@key_folder_options
@json_option
@pass_app
def amend(
    app: App,
    repo: str,
    os: str,
    minimum: int | None,
    ends: tuple[tuple[str, int], ...],
    expires_after: int,
    signing: Signing,
) -> None:
    """Make the next catalogue of OS: with a minimum sequence, or other ends; with neither it lives longer.

    The keys of the release role sign it and the metadata that names it. To withdraw, or to bring a higher
    letter, is `rollout withdraw` and `rollout reissue`.
    """
    publisher = _publisher(app, repo)
    made = publisher.amend(
        os, signers=signing.signers(), minimum=minimum, ends=dict(ends), days=expires_after
    )
    below = [one.id for one in made.improvements if one.sequence < made.minimum_sequence]
    words = f"{repo}: catalogue {made.serial} of {os}, minimum sequence {made.minimum_sequence}"
    if below:
        words += f"; devices take no more: {', '.join(below)}"
    values = {"serial": made.serial, "minimum_sequence": made.minimum_sequence, "below": below}
    _say_waiting(app, publisher, words, values)


@repo.command()
@_repo
@role_options
@json_option
@pass_app
def rotate(
    app: App, repo: str, members: tuple[tuple[str, Path], ...], needed: tuple[tuple[str, int], ...]
) -> None:
    """Give a role other keys, or another rule; leave a key out to revoke it.

    All keys that the role shall have are named with --role. The change waits for the signatures of those who
    delegate to it: root for the first four roles (by the old rule and the new), targets for the others.
    """
    publisher = _publisher(app, repo)
    roles = roles_of(members, needed)
    for role in roles:
        publisher.rotate(role)
    names = [role.name for role in roles]
    _say_waiting(app, publisher, f"{repo}: {', '.join(names)} will have other keys", {"roles": names})


@repo.command()
@_repo
@key_folder_options
@json_option
@pass_app
def sign(
    app: App,
    repo: str,
    signing: Signing,
) -> None:
    """Add the signatures that are still wanted and that these keys can give, and publish nothing.

    REPO may be a copy on a machine without a network: its folders metadata and staged are enough, and staged
    is what comes back signed.
    """
    publisher = _publisher(app, repo)
    done = publisher.sign(signing.signers())
    words = (
        f"{repo}: signed {', '.join(done)}"
        if done
        else f"{repo}: nothing here wants a signature of these keys"
    )
    _say_waiting(app, publisher, words, {"signed": done})


@repo.command()
@_repo
@key_folder_options
@json_option
@pass_app
def publish(
    app: App,
    repo: str,
    signing: Signing,
) -> None:
    """Sign, renew what is old, and let devices see it. Run it at least daily: a timestamp lives 24 hours.

    It needs the keys of snapshot, timestamp and personaliser, and those of whatever is not signed yet.
    """
    publisher = _publisher(app, repo)
    with bar(app, "publishing"):
        report = publisher.publish(signing.signers(none=True))
    app.done(_report_json(report), f"{repo}: {_report_words(report)}")


@repo.command()
@_repo
@json_option
@pass_app
def status(app: App, repo: str) -> None:
    """Say what is in force, until when, signed by how many; and what waits for signatures."""
    from deltaseal.repo.upkeep import States, states

    publisher = _publisher(app, repo)
    found = states(publisher) if publisher.published() is not None else States((), 0, 0)
    waiting = publisher.waiting()
    values = {
        "roles": [one.to_json() for one in found.roles],
        "offers": found.offers,
        "bundles": found.bundles,
        "waiting": [_waiting_json(one) for one in waiting],
    }

    def lines() -> list[str]:
        said = [f"{repo}: {count(found.offers, 'offer')}, {count(found.bundles, 'bundle')}"]
        for one in found.roles:
            keys = ", ".join(
                f"{signed} of {needed} {name} ({count(there, 'key')})"
                for name, (signed, needed, there) in one.keys.items()
            )
            over = "expired " if app.now >= one.expires else "until "
            said.append(f"  {one.role} {one.version}: {over}{moment(one.expires)}; signed by {keys}")
        return [*said, *_waiting_lines(waiting)]

    app.report(values, lines)


@repo.command()
@_repo
@click.option(
    "--keep", type=click.IntRange(0), default=1, show_default=True, help="Earlier states that stay readable."
)
@json_option
@pass_app
def prune(app: App, repo: str, keep: int) -> None:
    """Remove what no state in force, nor the last before it, leads to. Roots always stay."""
    from deltaseal.repo.upkeep import prune as remove

    gone = remove(_publisher(app, repo), keep=keep)
    app.done({"removed": gone}, f"{repo}: {count(len(gone), 'file')} removed")


@repo.command()
@_repo
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder, or object store.")
@json_option
@pass_app
def export(app: App, repo: str, output: str) -> None:
    """Copy what is in force, with every proof: a mirror that devices take as a source, also offline.

    A mirror that is there already is brought up to date; `repo prune` works on it too.
    """
    from deltaseal.repo import open_folder
    from deltaseal.repo.upkeep import export as copy

    size = copy(_publisher(app, repo), open_folder(output))
    app.done({"size": size}, f"{output}: a mirror of {repo}, {size:,} bytes")


@repo.command()
@_repo
@output_option("TRUST")
@force_option
@json_option
@pass_app
def trust(app: App, repo: str, output: Path, force: bool) -> None:
    """Write the trust file that follows from the repository: whose documents count, published or not yet.

    It is what `bundle build` and `verify` want, and what a device without a repository pins.
    """
    from deltaseal.storage import write_output

    made = _publisher(app, repo).trust()
    write_output(output, [made.dumps()], force)
    app.done({"roles": sorted(made.roles)}, f"{output}: trust in {count(len(made.roles), 'role')} of {repo}")


@repo.command()
@_repo
@click.argument("cve")
@json_option
@pass_app
def coverage(app: App, repo: str, cve: str) -> None:
    """Say which base and letter fix the hole CVE, for each base of each system."""
    from deltaseal.repo.coverage import coverage as covered

    publisher = _publisher(app, repo)
    published = publisher.published()
    systems = [role.removeprefix("release-") for role in published.releases] if published else []
    catalogues = [one for os in systems if (one := publisher.catalogue(os))]
    found = covered(catalogues, cve, now=app.now)
    app.report(
        {"cve": cve, "bases": [one.to_json() for one in found]},
        lambda: [one.sentence for one in found] or [f"no catalogue of {repo} speaks of {cve}"],
    )


@repo.command()
@scenario_options(trees="; without any, small made-up trees do", day_zero="the last day is today")
@click.option(
    "--new-keys", type=click.Path(path_type=Path), metavar="DIR", help="A new folder for the private keys."
)
@click.option("-o", "--output", "repo", required=True, metavar="REPO", help="The new repository.")
@json_option
@pass_app
def scenario(
    app: App,
    toml: Path,
    trees: tuple[tuple[str, Path], ...],
    day_zero: int | None,
    new_keys: Path | None,
    effort: str,
    threads: int,
    repo: str,
) -> None:
    """Publish everything that the file SCENARIO says, day by day, with fresh keys: a vendor in one command.

    Without --new-keys the private keys are forgotten, and nothing can be published after 24 hours.
    """
    from deltaseal.bundle import Making, build_scenario, make_signers, save_keys
    from deltaseal.manifest import Scenario
    from deltaseal.repo import open_folder
    from deltaseal.repo.timeline import publish_scenario, stand_in_trees

    read = Scenario.loads(read_text(toml))
    zero = app.now // DAY * DAY - read.days[-1] * DAY if day_zero is None else day_zero
    signers, private = make_signers(read, day_zero=zero, random=app.edge.random)
    with tempfile.TemporaryDirectory(prefix="deltaseal-") as scratch:
        at = dict(trees) if trees else stand_in_trees(read, Path(scratch))
        with bar(app, "making the deltas") as progress:
            making = Making(effort=effort, threads=threads, progress=progress)
            built = build_scenario(read, trees_at=at, day_zero=zero, signers=signers, making=making)
        done, others = publish_scenario(open_folder(repo), built, random=app.edge.random, now=app.now)
    if new_keys is not None:
        save_keys({**private, **others}, new_keys)
    values = {"day_zero": zero, "days": [{"day": one.day, **_report_json(one.report)} for one in done]}
    lines = [f"  {moment(zero + one.day * DAY)[:10]}: {_report_words(one.report)}" for one in done]
    _told(app, values, [f"{repo}: {read.name!r}, published {count(len(done), 'time')}", *lines])


# ---- shared ----------------------------------------------------------------------------------------


def _publisher(app: App, place: str) -> Publisher:
    from deltaseal.repo import Publisher, open_folder

    publisher = Publisher(open_folder(place), app.now)
    if not publisher.is_there:
        raise UsageError(f"{place!r} holds no repository", hint="`deltaseal repo init` makes one", path=place)
    return publisher


def _in_order(files: Sequence[Path]) -> list[Path]:
    """Bundles first: what names them is refused while they are not there."""
    from deltaseal.bundle import MAGIC

    def begins(path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(len(MAGIC))

    return sorted(files, key=lambda path: begins(path) != MAGIC)


def _say_waiting(app: App, publisher: Publisher, words: str, values: dict[str, Any]) -> None:
    waiting = publisher.waiting()
    told = {**values, "waiting": [_waiting_json(one) for one in waiting]}
    _told(app, told, [words, *_waiting_lines(waiting)])


def _told(app: App, values: dict[str, Any], lines: Sequence[str]) -> None:
    """As ``App.done``, in several lines."""
    if app.json:
        app.put_json(values)
        return
    for line in lines:
        app.say(line)


def _waiting_lines(waiting: Sequence[Waiting]) -> list[str]:
    lines = []
    for one in waiting:
        missing = [
            f"{needed - good} of {name} by {words}"
            for words, short in one.missing.items()
            for name, (good, needed) in short.items()
        ]
        state = (
            f"still wants signatures: {', '.join(missing)}"
            if missing
            else "is signed, and waits to be published"
        )
        lines.append(f"  {one.role} {one.version} {state}")
    return lines


def _waiting_json(one: Waiting) -> dict[str, Any]:
    missing = {
        words: {name: needed - good for name, (good, needed) in short.items()}
        for words, short in one.missing.items()
    }
    return {"role": one.role, "version": one.version, "missing": missing}


def _report_json(report: Report) -> dict[str, Any]:
    return {
        "snapshot": report.snapshot,
        "timestamp": report.timestamp,
        "roles": list(report.roles),
        "offers": report.offers,
        "files": report.files,
        "metadata_bytes": report.metadata_bytes,
    }


def _report_words(report: Report) -> str:
    return (
        f"{count(report.files, 'new file')}, {report.metadata_bytes:,} bytes of metadata, "
        f"{count(report.offers, 'offer')} in force"
    )
