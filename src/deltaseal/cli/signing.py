"""Who signs and who is believed: ``--key``, ``--signer``, ``--passphrase-file``, ``--trust``."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltaseal.cli.options import DIRECTORY, FILE
from deltaseal.cli.reading import load_private, load_public
from deltaseal.errors import UsageError

if TYPE_CHECKING:
    from deltaseal.trust import Algorithm, PublicKey, Role, Signer

__all__ = [
    "Signing",
    "key_folder_options",
    "optional_role_options",
    "passphrase_option",
    "role_options",
    "roles_of",
    "signer_options",
    "trust_option",
]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
R = TypeVar("R")

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


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs, as the options say; no key is read before it is asked for."""

    keys: tuple[Path, ...]
    commands: tuple[tuple[Path, str], ...]
    passphrase_file: Path | None
    folders: tuple[Path, ...] = ()

    def signers(self, *, none: bool = False) -> list[Signer]:
        """Those signers; ``UsageError`` where there is none, unless that is allowed."""
        from deltaseal.trust import CommandSigner

        found = [path for folder in self.folders for path in sorted(folder.glob("*.pem"))]
        signers: list[Signer] = [load_private(path, self.passphrase_file) for path in (*self.keys, *found)]
        signers += [CommandSigner(load_public(public), _words(command)) for public, command in self.commands]
        if not signers and not none:
            raise UsageError("nobody signs", hint="name a key file with --key, or a command with --signer")
        return signers


def signer_options(command: Callable[..., R]) -> Callable[..., R]:
    """``--key`` and ``--signer``, each repeatable, and ``--passphrase-file``, as one ``signing``."""

    @functools.wraps(command)
    def gathered(
        *rest: Any,
        keys: tuple[Path, ...],
        commands: tuple[tuple[Path, str], ...],
        passphrase_file: Path | None,
        folders: tuple[Path, ...] = (),
        **more: Any,
    ) -> R:
        return command(*rest, signing=Signing(keys, commands, passphrase_file, folders), **more)

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
    return key(signer(passphrase_option(gathered)))


def key_folder_options(command: Callable[..., R]) -> Callable[..., R]:
    """As :func:`signer_options`, with ``--keys`` for folders of key files."""
    folder = click.option(
        "--keys",
        "folders",
        type=DIRECTORY,
        multiple=True,
        metavar="DIR",
        help="Sign with every key file (*.pem) in this folder that is asked for. Repeatable.",
    )
    return folder(signer_options(command))


def role_options(command: Decorated) -> Decorated:
    """``--role`` and ``--needed``, each repeatable: keys and rules of roles."""
    return _role_options(command, required=True)


def optional_role_options(command: Decorated) -> Decorated:
    """As :func:`role_options`, where the keys may come from elsewhere."""
    return _role_options(command, required=False)


def _role_options(command: Decorated, *, required: bool) -> Decorated:
    members = click.option(
        "--role",
        "members",
        type=(str, FILE),
        multiple=True,
        required=required,
        metavar="ROLE PUBLIC",
        help="A role, such as release:macos or personaliser, and the file of a public key of it. Repeatable.",
    )
    needed = click.option(
        "--needed",
        type=(str, click.IntRange(1, 32)),
        multiple=True,
        metavar="ROLE K",
        help="How many signatures of each algorithm the role needs; by default every key must sign.",
    )
    return members(needed(command))


def roles_of(members: Sequence[tuple[str, Path]], needed: Sequence[tuple[str, int]]) -> list[Role]:
    """The roles that the options name; ``UsageError`` where one could never be met."""
    from deltaseal.trust import ALGORITHMS, Role

    by_role: dict[str, list[PublicKey]] = {}
    for name, path in members:
        by_role.setdefault(name, []).append(load_public(path))
    asked = dict(needed)
    unknown = sorted(asked.keys() - by_role.keys())
    if unknown:
        raise UsageError(f"--needed speaks of {', '.join(unknown)}, which has no key", hint="add --role")
    for name, of in by_role.items():
        missing = sorted(set(ALGORITHMS) - {key.algorithm for key in of})
        if missing:
            raise UsageError(
                f"role {name} has no {missing[0]} key: every role needs both algorithms",
                hint="make one with `deltaseal keys generate` and name it with --role too",
            )
    return [Role(name, tuple(of), _thresholds(of, asked.get(name))) for name, of in by_role.items()]


def _thresholds(of: Iterable[PublicKey], asked: int | None) -> dict[Algorithm, int]:
    from deltaseal.trust import ALGORITHMS

    # A default that is less than every key would be a weaker rule that nobody chose.
    found = [key.algorithm for key in set(of)]
    return {name: found.count(name) if asked is None else asked for name in ALGORITHMS}


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"the signing command {command!r} cannot be read: {error}") from error
