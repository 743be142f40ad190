"""Keys and signatures: Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204).

An algorithm is a row of ``_SCHEMES``; nothing else in the program knows how
one works.  Key files are PKCS#8 in PEM, readable by their owner only; a key
that cannot leave its device signs through a command of the user's.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import os
import secrets
import selectors
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from deltaseal.errors import (
    DeltasealError,
    DocumentTypeError,
    SignatureError,
    SpaceError,
    StorageError,
    UsageError,
)

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "CommandSigner",
    "PrivateKey",
    "PublicKey",
    "Signer",
    "algorithm_by_id",
    "algorithm_id",
]

Algorithm = Literal["ed25519", "ml-dsa-65"]

COMMAND_SECONDS = 120.0  # a person may have to touch a token
MAX_KEY_FILE = 64 << 10  # bytes; an encrypted ML-DSA key has about 400
MAX_PASSPHRASE = 1023  # bytes in UTF-8; what OpenSSL takes


@dataclass(frozen=True, slots=True)
class _Scheme:
    """What is known of one algorithm; sizes in bytes."""

    id: int  # its number in the binary framing
    public_size: int
    signature_size: int
    seed_size: int
    from_seed: Callable[[bytes], Any]
    verify: Callable[[bytes, bytes, bytes, bytes], None]  # public key, signature, message, context


def _verify_ed25519(public: bytes, signature: bytes, message: bytes, context: bytes) -> None:
    if context:  # pure Ed25519 takes none (RFC 8032, section 8.3)
        raise InvalidSignature
    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def _verify_mldsa(public: bytes, signature: bytes, message: bytes, context: bytes) -> None:
    if len(context) > 255:  # FIPS 204, algorithm 3, line 1
        raise InvalidSignature
    mldsa.MLDSA65PublicKey.from_public_bytes(public).verify(signature, message, context)


# Sizes: RFC 8032, section 5.1; FIPS 204, table 2.
_SCHEMES: dict[Algorithm, _Scheme] = {
    "ed25519": _Scheme(1, 32, 64, 32, ed25519.Ed25519PrivateKey.from_private_bytes, _verify_ed25519),
    "ml-dsa-65": _Scheme(2, 1952, 3309, 32, mldsa.MLDSA65PrivateKey.from_seed_bytes, _verify_mldsa),
}

ALGORITHMS: tuple[Algorithm, ...] = tuple(_SCHEMES)

# y-coordinates of Ed25519's eight points of small order: anybody can sign for such a key.
_P = 2**255 - 19
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)


def algorithm_id(algorithm: Algorithm) -> int:
    """Return the algorithm's number in the binary framing."""
    return _SCHEMES[algorithm].id


def algorithm_by_id(number: int) -> Algorithm | None:
    """Return the algorithm with this number, or None if this program does not know it."""
    return next((name for name, scheme in _SCHEMES.items() if scheme.id == number), None)


def _known(name: object) -> Algorithm:
    found = next((known for known in ALGORITHMS if known == name), None)
    if found is None:
        raise DocumentTypeError(
            f"unknown algorithm {name!r}; known are {', '.join(ALGORITHMS)}", algorithm=repr(name)
        )
    return found


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: its algorithm and the raw bytes of its standard.

    Raises ``DocumentTypeError`` if the size is wrong, or if an Ed25519 key has
    a second spelling (y ≥ p; RFC 8032, section 5.1.3) or is of small order.
    """

    algorithm: Algorithm
    raw: bytes

    def __post_init__(self) -> None:
        expected = _SCHEMES[_known(self.algorithm)].public_size
        if len(self.raw) != expected:
            raise DocumentTypeError(
                f"a public key of {self.algorithm} has {expected} bytes, this one has {len(self.raw)}",
                algorithm=self.algorithm,
                expected=expected,
                found=len(self.raw),
            )
        if self.algorithm == "ed25519":
            y = int.from_bytes(self.raw, "little") & (2**255 - 1)
            if y >= _P or y in _SMALL_ORDER_Y:
                raise DocumentTypeError(
                    "this Ed25519 public key is one that nobody can own", key=self.raw.hex()
                )

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the algorithm's name, a NUL, and the raw key: the key's name among people."""
        return hashlib.sha256(self.algorithm.encode("ascii") + b"\0" + self.raw).digest()

    @property
    def key_hint(self) -> bytes:
        """The first 8 bytes of the fingerprint: where a verifier looks first, never what it trusts."""
        return self.fingerprint[:8]

    def verify(self, message: bytes, signature: bytes, *, context: bytes = b"") -> bool:
        """Say whether ``signature`` is this key's for ``message``; never raises for what is in them.

        ``context`` is ML-DSA's context string; deltaseal's documents have none.
        """
        scheme = _SCHEMES[self.algorithm]
        if len(signature) != scheme.signature_size:
            return False
        try:
            scheme.verify(self.raw, signature, message, context)
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_json(self) -> dict[str, Any]:
        """The key as JSON values: ``algorithm`` and ``public`` (base64)."""
        return {"algorithm": self.algorithm, "public": base64.b64encode(self.raw).decode("ascii")}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Return the key in ``value``.  Raises ``DocumentTypeError`` for anything but exactly a key."""
        if not isinstance(value, dict) or set(value) != {"algorithm", "public"}:
            raise DocumentTypeError("a public key has exactly the fields algorithm and public")
        text = value["public"]
        try:
            raw = base64.b64decode(text.encode("ascii"), validate=True)
        except (AttributeError, UnicodeEncodeError, binascii.Error) as error:
            raise DocumentTypeError("a public key's bytes are written in base64") from error
        key = cls(_known(value["algorithm"]), raw)
        if key.to_json()["public"] != text:  # base64 has spare bits in its last digit
            raise DocumentTypeError("a public key's base64 has exactly one spelling")
        return key


class Signer(Protocol):
    """Whatever can sign for one public key."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what :meth:`sign` makes."""

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature of ``message``."""


class PrivateKey:
    """A private key in memory."""

    def __init__(self, algorithm: Algorithm, key: Any) -> None:
        self._key = key
        self._public = PublicKey(algorithm, key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, algorithm: Algorithm, *, random: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """Make a new key.  ``random`` gives that many unpredictable bytes; only tests pass another."""
        scheme = _SCHEMES[_known(algorithm)]
        return cls(algorithm, scheme.from_seed(random(scheme.seed_size)))

    @property
    def public(self) -> PublicKey:
        """The public key."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature of ``message``; ML-DSA's differs each time (FIPS 204, hedged)."""
        signature: bytes = self._key.sign(message)
        return signature

    def save(self, path: Path, passphrase: str | None = None) -> None:
        """Write the key to the new file ``path``: PKCS#8, PEM, mode 0600.

        Raises ``UsageError`` if the file exists or the passphrase is empty or too
        long, ``StorageError`` or ``SpaceError`` if it cannot be written; then
        nothing is left.
        """
        protection: serialization.KeySerializationEncryption = (
            serialization.NoEncryption()
            if passphrase is None
            else serialization.BestAvailableEncryption(_spelled(passphrase))
        )
        pem: bytes = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
        )
        _write_secret(path, pem)

    @classmethod
    def load(cls, path: Path, passphrase: str | None = None) -> Self:
        """Read a key file.

        Raises ``UsageError`` for a file that others than its owner may read,
        that needs a passphrase and got none, or got a wrong one or one too
        many; ``DocumentTypeError`` for what is no key of a known algorithm.
        """
        pem = _read_secret(path)
        try:
            key = serialization.load_pem_private_key(
                pem, None if passphrase is None else _spelled(passphrase)
            )
        except TypeError as error:  # cryptography: a passphrase is missing, or given where none is needed
            words = "is protected by a passphrase" if passphrase is None else "has no passphrase"
            hint = "give its passphrase" if passphrase is None else "leave the passphrase out"
            raise UsageError(f"the key file {str(path)!r} {words}", hint=hint, path=str(path)) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            if passphrase is not None:
                raise UsageError(
                    f"the key file {str(path)!r} does not open with this passphrase",
                    hint="check the passphrase",
                    path=str(path),
                ) from error
            raise DocumentTypeError(f"{str(path)!r} is not a private key in PEM", path=str(path)) from error
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return cls("ed25519", key)
        if isinstance(key, mldsa.MLDSA65PrivateKey):
            return cls("ml-dsa-65", key)
        raise DocumentTypeError(
            f"the key in {str(path)!r} is of another algorithm than {' or '.join(ALGORITHMS)}", path=str(path)
        )


def _spelled(passphrase: str) -> bytes:
    """A passphrase's bytes. Raises ``UsageError`` for one that no key file can have."""
    spelled = passphrase.encode("utf-8")
    if not spelled:
        raise UsageError("the passphrase is empty", hint="give one, or none at all")
    if len(spelled) > MAX_PASSPHRASE:
        raise UsageError(
            f"the passphrase has {len(spelled):,} bytes, at most {MAX_PASSPHRASE:,} are taken",
            hint="check that it is the right file, with the passphrase on its first line",
            found=len(spelled),
            limit=MAX_PASSPHRASE,
        )
    return spelled


def _failed(action: str, path: Path, error: OSError) -> DeltasealError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    kind = SpaceError if full else StorageError
    return kind(f"cannot {action} {str(path)!r}: {error.strerror}", path=str(path))


def _write_secret(path: Path, data: bytes) -> None:
    # O_SYNC: a key whose public half is given away must not be lost to a power cut.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_SYNC
    try:
        fd = os.open(path, flags, 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{str(path)!r} exists already",
            hint="a key file is never replaced; choose another name",
            path=str(path),
        ) from error
    except OSError as error:
        raise _failed("create", path, error) from error
    try:
        with open(fd, "wb") as file:
            file.write(data)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise _failed("write", path, error) from error


def _read_secret(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(
                    f"{str(path)!r} is not a regular file", hint="name a key file", path=str(path)
                )
            if status.st_mode & 0o077:
                mode = status.st_mode & 0o777
                raise UsageError(
                    f"others than its owner may use the key file {str(path)!r} (mode {mode:04o})",
                    hint="run `chmod 600` on it, and consider the key known to others",
                    path=str(path),
                    mode=mode,
                )
            return file.read(MAX_KEY_FILE)
    except OSError as error:
        raise _failed("read", path, error) from error


@dataclass(frozen=True, slots=True)
class _Done:
    """How a command ended: status, output (one byte over the limit shows that there was more), words."""

    status: int
    output: bytes
    words: bytes
    late: bool


def _run(argv: Sequence[str], message: bytes, *, seconds: float, most: int) -> _Done:
    # Not subprocess.run: it would hold whatever a broken command writes, without end.
    with subprocess.Popen(
        argv, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            return _attend(process, message, until=time.monotonic() + seconds, most=most)
        finally:
            process.kill()


def _attend(process: subprocess.Popen[bytes], message: bytes, *, until: float, most: int) -> _Done:
    assert process.stdin and process.stdout and process.stderr, "all three are pipes"
    output, words, rest = b"", b"", memoryview(message)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        ready.register(process.stdout, selectors.EVENT_READ)
        ready.register(process.stderr, selectors.EVENT_READ)
        while ready.get_map() and len(output) <= most:
            left = until - time.monotonic()
            if left <= 0:
                return _Done(0, output, words, late=True)
            for key, _ in ready.select(left):
                if key.fileobj is process.stdin:
                    rest = rest[_give(key.fd, rest) :]
                    over = not rest
                else:
                    piece = os.read(key.fd, 4096)
                    over = not piece
                    output += piece if key.fileobj is process.stdout else b""
                    words = (words + (piece if key.fileobj is process.stderr else b""))[-4096:]
                if over:
                    ready.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    if len(output) > most:
        return _Done(0, output, words, late=False)
    try:
        return _Done(process.wait(max(0.0, until - time.monotonic())), output, words, late=False)
    except subprocess.TimeoutExpired:
        return _Done(0, output, words, late=True)


def _give(pipe: int, rest: memoryview) -> int:
    """Write what goes in; a command need not read all of it."""
    try:
        return os.write(pipe, rest)
    except BrokenPipeError:
        return len(rest)


class CommandSigner:
    """A key behind a command (HSM, KMS, smart card).

    ``argv`` is run without a shell; it gets the message on standard input and
    writes nothing but the raw signature to standard output.  What comes back
    is verified with ``public`` before it is used.
    """

    def __init__(self, public: PublicKey, argv: Sequence[str], *, seconds: float = COMMAND_SECONDS) -> None:
        if not argv:
            raise UsageError("the signing command is empty", hint="give a program and its arguments")
        self._public = public
        self._argv = list(argv)
        self._seconds = seconds

    @property
    def public(self) -> PublicKey:
        """The public key."""
        return self._public

    def sign(self, message: bytes) -> bytes:
        """Return the command's signature of ``message``.

        Raises ``UsageError`` if the command cannot be run, ``SignatureError``
        if it fails, takes too long, or gives anything but this key's signature.
        """
        program = self._argv[0]
        size = _SCHEMES[self._public.algorithm].signature_size
        try:
            done = _run(self._argv, message, seconds=self._seconds, most=size)
        except OSError as error:
            raise UsageError(
                f"cannot run the signing command {program!r}: {error.strerror}",
                hint="give the full path of the program",
                command=program,
            ) from error
        if done.late:
            raise self._failure(f"did not end in {self._seconds:g} s")
        if len(done.output) > size:
            raise self._failure(f"gave more than the {size} bytes of a signature")
        if done.status:
            last = done.words.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
            raise self._failure(f"ended with {done.status}: {last!a}", exit=done.status)
        if not self._public.verify(message, done.output):
            raise self._failure(
                f"gave {len(done.output)} bytes that are no signature of this {self._public.algorithm} key"
            )
        return done.output

    def _failure(self, what: str, **facts: Any) -> SignatureError:
        return SignatureError(
            f"the signing command {self._argv[0]!r} {what}",
            hint="the command must write the raw signature, and nothing else, to standard output",
            command=self._argv[0],
            **facts,
        )
