"""``deltaseal manifest``: bases, device manifests, catalogues, and whole scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import (
    DAY,
    DIRECTORY,
    FILE,
    expires_after_option,
    force_option,
    issued_option,
    json_option,
    output_option,
    permit_options,
    scenario_options,
)
from deltaseal.cli.progress import bar
from deltaseal.cli.reading import load_document, load_trust, read_text
from deltaseal.cli.signing import Signing, signer_options, trust_option
from deltaseal.cli.words import count
from deltaseal.verbs.kinds import read_whole

if TYPE_CHECKING:
    from deltaseal.bundle import BuiltScenario, VerifiedBundle
    from deltaseal.storage import Dir
    from deltaseal.trust import Signer, Trust

__all__ = ["manifest"]


@click.group(cls=Group)
def manifest() -> None:
    """Make the documents around bundles: bases, device manifests, catalogues."""


@manifest.command()
@click.option("--os", "os", required=True, help="Such as macos.")
@click.option("--version", required=True, help="Such as 26.3.1.")
@click.option("--build", required=True, help="Such as 25D2128.")
@click.option(
    "--component",
    "components",
    type=(str, DIRECTORY),
    multiple=True,
    required=True,
    metavar="NAME DIR",
    help="A component that may be improved, and its directory. Repeatable.",
)
@click.option(
    "--names",
    type=click.Choice(["sensitive", "insensitive"]),
    default="sensitive",
    show_default=True,
    help="Whether the devices' file system tells A from a.",
)
@click.option("--exclude", multiple=True, metavar="PATH", help="A path that is left out of every component.")
@signer_options
@output_option("BASE")
@force_option
@json_option
@pass_app
def base(
    app: App,
    os: str,
    version: str,
    build: str,
    components: tuple[tuple[str, Path], ...],
    names: str,
    exclude: tuple[str, ...],
    signing: Signing,
    output: Path,
    force: bool,
) -> None:
    """Make a base: the exact starting point of improvements, by the digest of each component's tree."""
    from deltaseal.bundle import make_base

    signers = signing.signers()
    with bar(app, "hashing the components"):
        made = make_base(
            os,
            version,
            build,
            dict(components),
            names="insensitive" if names == "insensitive" else "sensitive",
            exclude=exclude,
        )
    values = {"components": dict(made.components)}
    inputs = [*signing.keys, *(directory for _, directory in components)]
    _write(app, made, signers, output, inputs, force, values)


@manifest.command()
@click.argument("bundle", type=FILE)
@trust_option
@click.option("--model", "models", multiple=True, help="A model of the bundle; by default all of them.")
@click.option(
    "--request", type=FILE, metavar="FILE", help="A device's request: the manifest is for it alone."
)
@permit_options
@issued_option
@expires_after_option(7, 7)
@signer_options
@output_option("MANIFEST")
@force_option
@json_option
@pass_app
def issue(
    app: App,
    bundle: Path,
    trust: Path,
    models: tuple[str, ...],
    request: Path | None,
    channel: str,
    phase: int,
    paused: bool,
    issued: int | None,
    expires_after: int,
    signing: Signing,
    output: Path,
    force: bool,
) -> None:
    """Make a device manifest: the permission to apply BUNDLE, for models or for one device.

    It can only narrow what the bundle allows, and lives at most 7 days.
    """
    from deltaseal.manifest import Request, make_permit

    signers = signing.signers()
    verified = _verified(app, bundle, load_trust(trust))
    began = app.now if issued is None else issued
    permit = make_permit(
        verified.manifest,
        verified.digest,
        issued=began,
        expires=began + expires_after * DAY,
        models=models or None,
        personal=None if request is None else Request.loads(read_whole(request)).personal,
        channel=channel,
        phase=phase,
        paused=paused,
    )
    inputs = [bundle, trust, *signing.keys, *([request] if request else [])]
    _write(app, permit, signers, output, inputs, force, {"id": permit.id, "expires": permit.expires})


@manifest.command()
@click.option("--os", "os", required=True, help="Such as macos.")
@click.option("--serial", type=click.IntRange(1), required=True, help="Rises with each catalogue of an os.")
@trust_option
@click.option(
    "--base",
    "bases",
    type=FILE,
    multiple=True,
    required=True,
    metavar="BASE",
    help="A base, oldest first. Repeatable.",
)
@click.option(
    "--includes",
    type=(str, str),
    multiple=True,
    metavar="BUILD CVE",
    help="A hole that the full update to this base build closes. Repeatable.",
)
@click.option(
    "--bundle",
    "bundles",
    type=(FILE, click.IntRange(1)),
    multiple=True,
    metavar="BUNDLE DAYS",
    help="An improvement, and for how many days after its issue it lives. Repeatable.",
)
@click.option(
    "--minimum",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The lowest sequence that devices still take.",
)
@click.option(
    "--withdraw",
    "withdrawals",
    type=(str, click.Choice(["keep", "remove", "pin"])),
    multiple=True,
    metavar="ID ACTION",
    help="Offer this no longer, and keep, remove or pin it where it is. Repeatable.",
)
@issued_option
@expires_after_option(30, 36_500)
@signer_options
@output_option("CATALOGUE")
@force_option
@json_option
@pass_app
def catalogue(
    app: App,
    os: str,
    serial: int,
    trust: Path,
    bases: tuple[Path, ...],
    includes: tuple[tuple[str, str], ...],
    bundles: tuple[tuple[Path, int], ...],
    minimum: int,
    withdrawals: tuple[tuple[str, str], ...],
    issued: int | None,
    expires_after: int,
    signing: Signing,
    output: Path,
    force: bool,
) -> None:
    """Make the catalogue of an os: its bases in order, its improvements, what is withdrawn.

    A fix that a later base would lose is an error, which names the CVE.
    """
    from deltaseal.manifest import CatalogueBase, Published, make_catalogue, make_withdrawals, verify_base

    signers = signing.signers()
    pinned = load_trust(trust)
    known = [verify_base(load_document(path), pinned, now=app.now).value for path in bases]
    published = [(_verified(app, path, pinned), days) for path, days in bundles]
    began = app.now if issued is None else issued
    made = make_catalogue(
        os=os,
        serial=serial,
        issued=began,
        expires=began + expires_after * DAY,
        bases=[
            CatalogueBase(one.version, one.build, tuple(cve for build, cve in includes if build == one.build))
            for one in known
        ],
        improvements=[
            Published(one.manifest, one.digest, one.manifest.issued + days * DAY) for one, days in published
        ],
        minimum_sequence=minimum,
        withdrawals=make_withdrawals(dict(withdrawals), [one.manifest for one, _ in published]),
    )
    inputs = [trust, *bases, *signing.keys, *(path for path, _ in bundles)]
    _write(app, made, signers, output, inputs, force, {"serial": serial, "expires": made.expires})


@manifest.command()
@scenario_options(trees="", day_zero="today")
@click.option(
    "--keys", "key_folder", type=click.Path(path_type=Path), help="A new folder for the private keys."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder for the rest."
)
@json_option
@pass_app
def scenario(
    app: App,
    toml: Path,
    trees: tuple[tuple[str, Path], ...],
    day_zero: int | None,
    key_folder: Path | None,
    effort: str,
    threads: int,
    output: Path,
) -> None:
    """Build everything that the file SCENARIO says, with fresh keys: a whole small publisher in one folder.

    Bases, bundles, catalogues, device manifests and the trust file, signed. Without --keys the private keys
    are forgotten: for trying things out. The example march-2026.toml explains the form.
    """
    from deltaseal.bundle import Making, build_scenario, make_signers, save_keys
    from deltaseal.manifest import Scenario
    from deltaseal.storage import open_output_dir

    read = Scenario.loads(read_text(toml))
    began = app.now // DAY * DAY if day_zero is None else day_zero
    signers, private = make_signers(read, day_zero=began, random=app.edge.random)
    inputs = [toml, *(directory for _, directory in trees)]
    with open_output_dir(output, inputs=inputs) as folder:
        with bar(app, "making the deltas") as progress:
            making = Making(effort=effort, threads=threads, progress=progress)
            built = build_scenario(read, trees_at=dict(trees), day_zero=began, signers=signers, making=making)
        written = _fill(folder, built)
        if key_folder is not None:
            save_keys(private, key_folder)
    words = f"{output}: {count(len(written), 'file')} of {read.name!r}"
    app.done({"files": written, "day_zero": began}, words)


def _fill(folder: Dir, built: BuiltScenario) -> list[str]:
    """Write what a scenario hands out into an open folder; returns the names."""
    from deltaseal.storage import RealDisk

    disk, written = RealDisk(), []
    for name, pieces in built.files():
        with disk.create(folder, name) as file:
            for piece in pieces:
                file.write(piece)
            disk.sync(file)
        written.append(name)
    return written


def _verified(app: App, path: Path, trust: Trust) -> VerifiedBundle:
    from deltaseal.bundle import open_bundle
    from deltaseal.storage import FileSource

    return open_bundle(FileSource(path)).verify(trust, now=app.now)


def _write(
    app: App,
    body: Any,
    signers: Sequence[Signer],
    output: Path,
    inputs: Sequence[Path],
    force: bool,
    values: dict[str, Any],
) -> None:
    """Sign a body and write the document."""
    from deltaseal.storage import write_output
    from deltaseal.trust import sign

    document = sign(body.TYPE, body.dumps(), signers)
    data = document.to_bytes()
    write_output(output, [data], force, inputs=inputs, verify=True)
    digest = document.digest.hex()
    words = f"{output}: {len(data):,} bytes, {count(len(signers), 'signature')}, document digest {digest}"
    app.done({**values, "digest": digest, "signatures": len(signers), "size": len(data)}, words)
