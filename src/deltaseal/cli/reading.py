"""Small files that options name, read and parsed. Only the rooms that are needed are loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltaseal.errors import UsageError
from deltaseal.verbs.kinds import read_whole

if TYPE_CHECKING:
    from deltaseal.trust import PrivateKey, PublicKey, Trust, UnverifiedDocument

__all__ = ["first_line", "load_document", "load_private", "load_public", "load_trust", "read_text"]

_PROTECTED = b"-----BEGIN ENCRYPTED"


def read_text(path: Path) -> str:
    """A small text file, whole."""
    try:
        return read_whole(path).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is not text in UTF-8", path=str(path)) from error


def first_line(path: Path) -> str:
    """The first line of a text file, without its end."""
    return read_text(path).partition("\n")[0].removesuffix("\r")


def load_document(path: Path) -> UnverifiedDocument:
    """A signed document, verified by nobody yet."""
    from deltaseal.trust import UnverifiedDocument

    return UnverifiedDocument.loads(read_whole(path))


def load_trust(path: Path) -> Trust:
    """A trust file."""
    from deltaseal.trust import Trust

    return Trust.load(read_whole(path))


def load_public(path: Path) -> PublicKey:
    """A public key, from the file that ``keys public`` writes."""
    from deltaseal.trust import PublicKey, strict_json

    return PublicKey.from_json(strict_json.loads(read_whole(path)))


def load_private(path: Path, passphrase_file: Path | None) -> PrivateKey:
    """A private key; its passphrase, if it has one, from a file or from a person at a terminal."""
    from deltaseal.trust import PrivateKey

    if not read_whole(path).startswith(_PROTECTED):
        return PrivateKey.load(path)
    return PrivateKey.load(path, _passphrase(path, passphrase_file))


def _passphrase(path: Path, file: Path | None) -> str:
    if file is not None:
        return first_line(file)
    if not sys.stdin.isatty():
        raise UsageError(
            f"the key file {str(path)!r} is protected by a passphrase",
            hint="give it with --passphrase-file",
            path=str(path),
        )
    return str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True))
