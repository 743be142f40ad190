"""``deltaseal keys``: keys and trust files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Group
from deltaseal.cli.options import DAY, FILE, MOMENT, force_option, json_option, output_option
from deltaseal.cli.reading import first_line, load_private
from deltaseal.cli.signing import passphrase_option, role_options, roles_of
from deltaseal.cli.words import count

if TYPE_CHECKING:
    from deltaseal.trust import Algorithm, PublicKey

__all__ = ["keys"]

_ALGORITHMS: tuple[Algorithm, ...] = ("ed25519", "ml-dsa-65")
_TRUST_DAYS = 365


@click.group(cls=Group)
def keys() -> None:
    """Make keys and trust files.

    A role needs k signatures of each of two algorithms: Ed25519 and ML-DSA-65.
    """


@keys.command()
@click.option("--algorithm", type=click.Choice(_ALGORITHMS), required=True, help="What kind of key.")
@output_option("KEY")
@passphrase_option
@json_option
@pass_app
def generate(app: App, algorithm: Algorithm, output: Path, passphrase_file: Path | None) -> None:
    """Make a private key.

    The file is PKCS#8 in PEM, readable by its owner only; with --passphrase-file it is encrypted. A key file
    is never replaced.
    """
    from deltaseal.trust import PrivateKey

    key = PrivateKey.generate(algorithm, random=app.edge.random)
    key.save(output, None if passphrase_file is None else first_line(passphrase_file))
    app.done(_named(key.public), f"{output}: {algorithm} key {key.public.fingerprint.hex()}")


@keys.command()
@click.argument("key", type=FILE)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PUBLIC", help="A file to write.")
@passphrase_option
@force_option
@pass_app
def public(app: App, key: Path, output: Path | None, passphrase_file: Path | None, force: bool) -> None:
    """Print the public key of the private key file KEY, or write it to a file."""
    from deltaseal.storage import write_output
    from deltaseal.trust import strict_json

    found = load_private(key, passphrase_file).public
    line = strict_json.dumps(found.to_json()).decode() + "\n"
    if output is None:
        click.echo(line, nl=False)
        return
    write_output(output, [line.encode()], force, inputs=[key])
    app.say(f"{output}: public {found.algorithm} key {found.fingerprint.hex()}")


@keys.command()
@role_options
@click.option(
    "--expires",
    type=MOMENT,
    metavar="DATE",
    help=f"When nobody is trusted any more, UTC; by default in {_TRUST_DAYS} days.",
)
@click.option(
    "--epoch",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Raised when release keys are replaced: the sequences seen under the old ones no longer bind.",
)
@output_option("TRUST")
@force_option
@json_option
@pass_app
def trust(
    app: App,
    members: tuple[tuple[str, Path], ...],
    needed: tuple[tuple[str, int], ...],
    expires: int | None,
    epoch: int,
    output: Path,
    force: bool,
) -> None:
    """Make a trust file: which keys may sign for which role, and how many of each algorithm must."""
    from deltaseal.storage import write_output
    from deltaseal.trust import Trust

    made = Trust.of(
        *roles_of(members, needed),
        expires=app.now + _TRUST_DAYS * DAY if expires is None else expires,
        epoch=epoch,
    )
    write_output(output, [made.dumps()], force, inputs=[path for _, path in members])
    values = {
        "expires": made.expires,
        "roles": {name: dict(role.thresholds.items()) for name, role in made.roles.items()},
    }
    app.done(values, f"{output}: trust in {count(len(made.roles), 'role')}")


def _named(key: PublicKey) -> dict[str, str]:
    return {**key.to_json(), "fingerprint": key.fingerprint.hex()}
