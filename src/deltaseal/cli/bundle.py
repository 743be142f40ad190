"""``deltaseal bundle``: build, sign, take signatures over."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.depfile import depfile_option, write_depfile
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import (
    DIRECTORY,
    FILE,
    force_option,
    issued_option,
    json_option,
    making_options,
    output_option,
)
from deltaseal.cli.progress import bar
from deltaseal.cli.reading import load_document, load_trust, read_text
from deltaseal.cli.signing import Signing, signer_options, trust_option
from deltaseal.cli.words import count
from deltaseal.errors import LimitError, UsageError

if TYPE_CHECKING:
    from deltaseal.bundle import Bundle, Earlier

__all__ = ["bundle"]

MAX_VEX = 1 << 20  # bytes


@click.group(cls=Group)
def bundle() -> None:
    """Build and sign bundles.

    Building is reproducible: the same input gives the same bytes, up to the signatures, which stand apart.
    """


@bundle.command()
@click.option("--base", type=FILE, required=True, metavar="BASE", help="The signed base that it is for.")
@trust_option
@click.option("--id", "id", required=True, help="Such as macos-26.3.1-a.")
@click.option("--letter", required=True, help="a to z; rises within a base.")
@click.option("--build", required=True, help="What the build string becomes.")
@click.option("--sequence", type=click.IntRange(1), required=True, help="Unique and rising within an os.")
@click.option("--model", "models", multiple=True, help="A model that it is for. Repeatable.")
@click.option(
    "--activation",
    type=click.Choice(["relaunch", "restart"]),
    required=True,
    help="What must happen before it is in use.",
)
@click.option("--process", "processes", multiple=True, help="For relaunch: a process to look at. Repeatable.")
@click.option(
    "--fixes", type=FILE, metavar="TOML", help="The holes that it closes: [[cves]], as in a scenario."
)
@click.option(
    "--component",
    "components",
    type=(str, DIRECTORY, DIRECTORY),
    multiple=True,
    required=True,
    metavar="NAME OLD NEW",
    help="A component, its directory on the base, and what it becomes. Repeatable.",
)
@click.option(
    "--earlier",
    type=FILE,
    multiple=True,
    metavar="BUNDLE",
    help="An earlier release of the same os, whose fixes must be in. Name all of them. Repeatable.",
)
@click.option(
    "--result",
    "results",
    type=(str, str, DIRECTORY),
    multiple=True,
    metavar="ID NAME DIR",
    help="What a component became in an earlier release; a delta from there is tried. Repeatable.",
)
@click.option("--withdrawn", multiple=True, metavar="ID", help="An earlier release that was withdrawn.")
@issued_option
@making_options
@output_option("BUNDLE")
@depfile_option
@force_option
@json_option
@pass_app
def build(
    app: App,
    base: Path,
    trust: Path,
    id: str,
    letter: str,
    build: str,
    sequence: int,
    models: tuple[str, ...],
    activation: str,
    processes: tuple[str, ...],
    fixes: Path | None,
    components: tuple[tuple[str, Path, Path], ...],
    earlier: tuple[Path, ...],
    results: tuple[tuple[str, str, Path], ...],
    withdrawn: tuple[str, ...],
    issued: int | None,
    effort: str,
    threads: int,
    output: Path,
    depfile: Path | None,
    force: bool,
) -> None:
    """Build a bundle, not signed yet: deltas of all components, and whole files for who cannot use them.

    Of an improvement that loses a fix of a lower letter, or reuses a letter or sequence, none is built.
    """
    from deltaseal.bundle import ComponentTrees, Making, Release
    from deltaseal.bundle.build import build as make
    from deltaseal.manifest import verify_base
    from deltaseal.manifest.scenario import read_fixes

    release = Release(
        id=id,
        letter=letter,
        build=build,
        sequence=sequence,
        issued=app.now if issued is None else issued,
        models=models,
        activation=activation,
        processes=processes,
        cves=() if fixes is None else read_fixes(read_text(fixes)),
    )
    inputs = [base, trust, *earlier, *(tree for _, old, new in components for tree in (old, new))]
    with bar(app, "making the deltas") as progress:
        made = make(
            release,
            verify_base(load_document(base), load_trust(trust), now=app.now).value,
            {name: ComponentTrees(old, new) for name, old, new in components},
            earlier=_earlier(earlier, results),
            withdrawn=withdrawn,
            making=Making(effort=effort, threads=threads, progress=progress),
        )
    _write(app, made, output, inputs, force)
    starts = [directory for _, _, directory in results]
    write_depfile(depfile, output, [*inputs, *starts, *([fixes] if fixes else [])])


@bundle.command()
@click.argument("bundle_file", metavar="BUNDLE", type=FILE)
@signer_options
@output_option("SIGNED")
@force_option
@json_option
@pass_app
def sign(
    app: App,
    bundle_file: Path,
    signing: Signing,
    output: Path,
    force: bool,
) -> None:
    """Add signatures to BUNDLE, if its payloads are what it says. The bundle digest stays the same."""
    signers = signing.signers()
    unsigned = _open(bundle_file)
    with bar(app, "checking the payloads"):
        unsigned.check_payloads()
    _write(app, unsigned.signed(signers), output, [bundle_file, *signing.keys], force)


@bundle.command("take-signatures")
@click.argument("published", type=FILE)
@click.argument("rebuilt", type=FILE)
@output_option("SIGNED")
@force_option
@json_option
@pass_app
def take_signatures(app: App, published: Path, rebuilt: Path, output: Path, force: bool) -> None:
    """Give the bundle REBUILT the signatures of PUBLISHED, if both are the same bytes up to them.

    This is how one who builds again proves that what was published is what the sources say.
    """
    from deltaseal.bundle import take_signatures as take

    _write(app, take(_open(published), _open(rebuilt)), output, [published, rebuilt], force)


@bundle.command()
@click.argument("bundle_file", type=FILE, metavar="BUNDLE")
@trust_option
@pass_app
def openvex(app: App, bundle_file: Path, trust: Path) -> None:
    """Print the OpenVEX document inside BUNDLE: what it fixes, as scanners read it, signed like the rest."""
    from deltaseal.bundle import open_bundle
    from deltaseal.storage import FileSource

    opened = open_bundle(FileSource(bundle_file)).verify(load_trust(trust), now=app.now)
    attached = opened.manifest.vex
    if attached is None:
        raise UsageError(
            f"{opened.manifest.id} has no OpenVEX document", hint="a bundle that fixes a CVE has one"
        )
    if attached.size > MAX_VEX:
        raise LimitError(
            f"the OpenVEX document has {attached.size:,} bytes, {MAX_VEX:,} are read", limit=MAX_VEX
        )
    payload = opened.payload(attached.sha256)
    click.echo(payload.read_at(0, payload.size()).decode(), nl=False)


def _open(path: Path) -> Bundle:
    from deltaseal.bundle import open_bundle
    from deltaseal.storage import FileSource

    return open_bundle(FileSource(path)).editable()


def _earlier(bundles: tuple[Path, ...], results: tuple[tuple[str, str, Path], ...]) -> list[Earlier]:
    from deltaseal.bundle import Earlier

    directories: dict[str, dict[str, Path]] = defaultdict(dict)
    for id, component, directory in results:
        directories[id][component] = directory
    found = [_open(path).manifest for path in bundles]
    unknown = sorted(directories.keys() - {manifest.id for manifest in found})
    if unknown:
        raise UsageError(f"--result speaks of {', '.join(unknown)}", hint="name its bundle with --earlier")
    return [Earlier(manifest, directories.get(manifest.id, {})) for manifest in found]


def _write(app: App, made: Bundle, output: Path, inputs: list[Path], force: bool) -> None:
    from deltaseal.storage import write_output

    size = write_output(output, made.chunks(), force, inputs=inputs, verify=True)
    signatures = len(made.document.signatures)
    app.done(
        {"digest": made.digest, "id": made.manifest.id, "signatures": signatures, "size": size},
        f"{output}: {size:,} bytes, {count(signatures, 'signature')}, bundle digest {made.digest}",
    )
