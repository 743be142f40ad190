"""Who signs and who is believed: ``--key``, ``--signer``, ``--passphrase-file``, ``--trust``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltaseal.cli.options import FILE
from deltaseal.cli.reading import load_private, load_public
from deltaseal.errors import UsageError

if TYPE_CHECKING:
    from deltaseal.trust import Signer

__all__ = ["passphrase_option", "signer_options", "signers_of", "trust_option"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

passphrase_option = click.option(
    "--passphrase-file",
    type=FILE,
    metavar="FILE",
    help="The passphrase of key files, on the first line of FILE; without it, a terminal asks.",
)
trust_option = click.option(
    "--trust",
    type=FILE,
    required=True,
    metavar="FILE",
    help="The trust file that says whose signatures count.",
)


def signer_options(command: Decorated) -> Decorated:
    """``--key`` and ``--signer``, each repeatable, and ``--passphrase-file``."""
    key = click.option(
        "--key", "keys", type=FILE, multiple=True, metavar="KEY", help="Sign with this key file. Repeatable."
    )
    signer = click.option(
        "--signer",
        "commands",
        type=(FILE, str),
        multiple=True,
        metavar="PUBLIC COMMAND",
        help="Sign with COMMAND: it gets the message on standard input and writes the raw signature of the "
        "public key in the file PUBLIC. Repeatable.",
    )
    return key(signer(passphrase_option(command)))


def signers_of(
    keys: Sequence[Path], commands: Sequence[tuple[Path, str]], passphrase_file: Path | None
) -> list[Signer]:
    """The signers that the options name; ``UsageError`` for none."""
    from deltaseal.trust import CommandSigner

    signers: list[Signer] = [load_private(path, passphrase_file) for path in keys]
    signers += [CommandSigner(load_public(public), _words(command)) for public, command in commands]
    if not signers:
        raise UsageError("nobody signs", hint="name a key file with --key, or a command with --signer")
    return signers


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the signing command {command!r} cannot be read: {error}") from error
