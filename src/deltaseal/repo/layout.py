"""Where everything of a repository lies, and how large it may be (docs/spec/repository.md)."""

from __future__ import annotations

import string
from typing import Final

from deltaseal.errors import UsageError
from deltaseal.trust import MAX_DOCUMENT

METADATA: Final = "metadata"
TARGETS: Final = "targets"
BUNDLES: Final = "bundles"
STAGED: Final = "staged"
TIMESTAMP_NAME: Final = f"{METADATA}/timestamp.json"

# Bytes of what a client fetches whole.
MAX_ROOT: Final = 512_000
MAX_TIMESTAMP: Final = 32_768
MAX_SNAPSHOT: Final = 1 << 20
MAX_ROLE_FILE: Final = 2 << 20
MAX_CATALOGUE: Final = MAX_DOCUMENT
MAX_OFFERS: Final = 4 << 20
MAX_ROOTS: Final = 256  # followed in one go
MAX_DELEGATIONS: Final = 8  # followed for one target

# How many offers a role file holds at most before they are spread over bins, and over how many.
BINS: Final = ((32, 0), (1_024, 4), (1 << 62, 8))  # (offers, bits of the number of bins)
BIN_PREFIX: Final = "offers"

OFFERS_PATTERN: Final = "offers/*/*/*"

_PLAIN: Final = frozenset((string.ascii_letters + string.digits + ",-_.").encode())
_MAX_SEGMENT: Final = 180  # with a digest before it, a file's name stays below 255 bytes


def escaped(text: str) -> str:
    """A build or model as one segment of a path, never beginning with a dot."""
    segment = "".join(
        chr(byte) if byte in _PLAIN and not (byte == ord(".") and at == 0) else f"={byte:02X}"
        for at, byte in enumerate(text.encode())
    )
    if len(segment) > _MAX_SEGMENT:
        raise UsageError(
            f"{text!r} takes {len(segment)} characters as a file's name, at most {_MAX_SEGMENT} are allowed",
            text=text,
        )
    return segment


def catalogue_path(os: str) -> str:
    """The target path of an os's catalogue."""
    return f"{os}/catalogue"


def base_path(os: str, build: str) -> str:
    """The target path of a base."""
    return f"{os}/bases/{escaped(build)}"


def offers_path(os: str, build: str, model: str) -> str:
    """The target path of the static device manifests for one system, base build and model."""
    return f"offers/{os}/{escaped(build)}/{escaped(model)}"


def release_paths(os: str) -> list[str]:
    """What the release role of an os may name."""
    return [catalogue_path(os), f"{os}/bases/*"]


def role_name(role: str) -> str:
    """The TUF name of a role of ours: ``release:macos`` is ``release-macos``."""
    return role.replace(":", "-")


def metadata_name(role: str, version: int) -> str:
    """Where a version of a role file lies; of the timestamp there is only the newest."""
    return TIMESTAMP_NAME if role == "timestamp" else f"{METADATA}/{version}.{role}.json"


def target_name(path: str, sha256: str) -> str:
    """Where a target lies: its name carries the digest of its bytes."""
    folder, _, name = path.rpartition("/")
    return f"{TARGETS}/{folder}/{sha256}.{name}"


def bundle_name(digest: str) -> str:
    """Where a bundle lies."""
    return f"{BUNDLES}/{digest}.bundle"


def bin_bits(offers: int, *, least: int = 0) -> int:
    """Over how many bins offers are spread, as bits (0: none); never fewer than before."""
    return max(least, next(bits for most, bits in BINS if offers <= most))
