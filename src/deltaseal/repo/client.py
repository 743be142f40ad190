"""The client: from a folder of role files that is believed to a newer one, over mirrors that are not.

docs/spec/repository.md, section 5.  python-tuf does TUF's workflow, in a copy of the folder; a policy
(:mod:`deltaseal.repo.trusted`) judges every file of it after that; what comes out is a value, and whoever
keeps the folder takes it in by one switch.  Foreign exceptions end here.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tuf.api import exceptions
from tuf.api.metadata import Snapshot, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from deltaseal.errors import (
    DeltasealError,
    DigestError,
    DocumentTypeError,
    ExpiredError,
    LimitError,
    NetworkError,
    SequenceError,
    SignatureError,
)
from deltaseal.repo import layout
from deltaseal.repo.metadata import read
from deltaseal.repo.mirrors import Transport
from deltaseal.repo.trusted import K_OF_EACH, Now, Policy, role_files
from deltaseal.storage import MissingError, RealDisk, write_file

__all__ = ["Refreshed", "Wanted", "refresh", "refresh_from_any"]

_ROOT: Final = "root.json"
_BASE: Final = "repository:///"
_CONFIG: Final = UpdaterConfig(
    max_root_rotations=layout.MAX_ROOTS,
    max_delegations=layout.MAX_DELEGATIONS,
    root_max_length=layout.MAX_ROOT,
    timestamp_max_length=layout.MAX_TIMESTAMP,
    snapshot_max_length=layout.MAX_SNAPSHOT,
    targets_max_length=layout.MAX_ROLE_FILE,
)
_TOP: Final = frozenset({"root", "timestamp", "snapshot", "targets"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target to have: its path, under which name it is kept among the files, and its largest size."""

    path: str
    keep_as: str
    limit: int


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh came to: files that passed, and what stopped it, if anything did."""

    files: Mapping[str, bytes]  # by file name: role files, and the targets that were wanted and are there
    failure: DeltasealError | None = None

    def whole(self) -> Mapping[str, bytes]:
        """The files of a refresh that came to its end; else raises what stopped it."""
        if self.failure is not None:
            raise self.failure
        return self.files


def refresh(
    transport: Transport,
    had: Mapping[str, bytes],
    *,
    wanted: Sequence[Wanted] = (),
    now: Now,
    policy: Policy = K_OF_EACH,
    metadata: str = layout.METADATA,
    targets: str = layout.TARGETS,
) -> Refreshed:
    """Bring files that are believed up to date from one mirror.

    ``had`` holds at least ``root.json``, believed.  Raises nothing for what a mirror does: the failure is
    part of the answer, and what passed before it is worth keeping.  ``metadata`` and ``targets`` are the
    mirror's folders.
    """
    with tempfile.TemporaryDirectory(prefix="deltaseal-") as folder:
        copy = Path(folder)
        _lay(copy, had)
        fetcher = _Fetcher(transport, metadata, targets)
        failure = None
        # Targets that were there stay where the run ends early: their role files do too.
        bodies = {each.keep_as: had[each.keep_as] for each in wanted if each.keep_as in had}
        try:
            _run(copy, had, fetcher, wanted, bodies)
        except exceptions.RepositoryError as error:
            failure = _refusal(error, fetcher)
        except exceptions.DownloadError as error:
            failure = _not_fetched(error)
        found, roots = _read_back(copy, had)
    files = {**found, **bodies}
    try:
        policy.check(files, [had[_ROOT], *roots], now)
    except DeltasealError as refusal:
        return Refreshed(had, _rather(failure, refusal, [had[_ROOT], *roots], policy, now))
    return Refreshed(files, failure)


def _rather(
    failure: DeltasealError | None, refusal: DeltasealError, roots: Sequence[bytes], policy: Policy, now: Now
) -> DeltasealError:
    """Which of two reasons to give: that old files do not fit a new root is none while others lack."""
    if failure is None:
        return refusal
    try:
        policy.check({}, roots, now)
    except DeltasealError as of_roots:
        return of_roots
    return failure


def refresh_from_any(
    transports: Iterable[Transport], had: Mapping[str, bytes], *, wanted: Sequence[Wanted], now: Now
) -> Refreshed:
    """Bring files up to date from the first mirror that can; the first failure if none can."""
    first: DeltasealError | None = None
    for transport in transports:
        done = refresh(transport, had, wanted=wanted, now=now)
        if done.failure is None:
            return done
        first, had = first or done.failure, done.files
    return Refreshed(had, first)


def _run(
    copy: Path,
    had: Mapping[str, bytes],
    fetcher: _Fetcher,
    wanted: Sequence[Wanted],
    bodies: dict[str, bytes],
) -> None:
    updater = Updater(
        str(copy),
        _BASE + "metadata/",
        target_dir=str(copy / "fetched"),
        target_base_url=_BASE + "targets/",
        fetcher=fetcher,
        config=_CONFIG,
        bootstrap=had[_ROOT],
    )
    updater.refresh()
    for each in wanted:
        info = updater.get_targetinfo(each.path)
        if info is None:
            bodies.pop(each.keep_as, None)
        else:
            bodies[each.keep_as] = _target(updater, info, each, had.get(each.keep_as))


def _target(updater: Updater, info: TargetFile, wanted: Wanted, kept: bytes | None) -> bytes:
    if info.length > wanted.limit:
        raise exceptions.DownloadLengthMismatchError(
            f"{wanted.path} is announced with {info.length} bytes, {wanted.limit} are allowed"
        )
    if kept is not None:
        try:
            info.verify_length_and_hashes(kept)
            return kept
        except exceptions.LengthOrHashMismatchError:
            pass
    return Path(updater.download_target(info)).read_bytes()


def _lay(copy: Path, had: Mapping[str, bytes]) -> None:
    """Put the role files into the copy where python-tuf looks for them; it makes its own ``root.json``."""
    disk = RealDisk()
    with disk.open_root(copy) as at:
        for role in role_files(had) - {"root"}:
            write_file(disk, at, f"{role}.json", had[f"{role}.json"])


def _read_back(copy: Path, had: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[bytes]]:
    """The role files of the copy that belong together, and the roots that are new."""
    history = sorted(
        (int(path.name.partition(".")[0]), path) for path in (copy / "root_history").glob("*.root.json")
    )
    found = {path.name: path.read_bytes() for path in copy.glob("*.json")}
    found.setdefault(_ROOT, had[_ROOT])
    roots = [path.read_bytes() for _, path in history[1:]]
    return _still_named(found), roots


def _still_named(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without delegated role files of another version than the snapshot names: nobody looked at them."""
    if "snapshot.json" not in files:
        return files
    meta = read(files["snapshot.json"], Snapshot).signed.meta

    def is_named(name: str, data: bytes) -> bool:
        if name.removesuffix(".json") in _TOP:
            return True
        named = meta.get(unquote(name))
        return named is not None and read(data, Targets).signed.version == named.version

    return {name: data for name, data in files.items() if is_named(name, data)}


# ---- the seam ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Fetcher(FetcherInterface):
    """python-tuf's way to a mirror."""

    transport: Transport
    metadata: str
    targets: str
    last_root: bytes = b""
    asked: list[str] = field(default_factory=list)

    def _fetch(self, url: str) -> Iterator[bytes]:
        folder, _, name = url.removeprefix(_BASE).partition("/")
        known = {"metadata": self.metadata, "targets": self.targets}[folder]
        self.asked.append(name)
        try:
            return self._guarded(
                self.transport.stream(f"{known}/{name}" if known else name, _cap(folder)), name
            )
        except MissingError as error:
            raise exceptions.DownloadHTTPError(error.sentence, 404) from error

    def _guarded(self, pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
        is_root = re.fullmatch(r"[0-9]+\.root\.json", name) is not None
        self.last_root = b""
        try:
            for piece in pieces:
                if is_root:
                    self.last_root += piece
                yield piece
        except DeltasealError as error:
            raise exceptions.DownloadError(error.sentence) from error


def _cap(folder: str) -> int:
    # python-tuf bounds each file by what announces it; this is the cap above all of them.
    return layout.MAX_OFFERS if folder == "targets" else layout.MAX_ROLE_FILE


def _not_fetched(error: exceptions.DownloadError) -> DeltasealError:
    cause = error.__cause__
    if isinstance(cause, DeltasealError) and not isinstance(cause, MissingError):
        return cause
    if isinstance(error, exceptions.DownloadLengthMismatchError):
        return LimitError(str(error))
    return NetworkError(str(cause or error))


def _refusal(error: exceptions.RepositoryError, fetcher: _Fetcher) -> DeltasealError:
    words = str(error) or type(error).__name__
    if isinstance(error, exceptions.ExpiredMetadataError):
        return ExpiredError(
            words, hint="the repository was not renewed in time, or somebody holds back what is new"
        )
    if isinstance(error, exceptions.UnsignedMetadataError):
        return SignatureError(words)
    if isinstance(error, exceptions.LengthOrHashMismatchError):
        return DigestError(words)
    if isinstance(error, exceptions.BadVersionNumberError):
        # A root that leaves others out is not signed by the one before it, whatever it says (T22).
        return SignatureError(words) if _skips(fetcher) else SequenceError(words)
    return DocumentTypeError(f"{words}: {error.__cause__}" if error.__cause__ else words)


def _skips(fetcher: _Fetcher) -> bool:
    if not fetcher.last_root:
        return False
    expected = int(fetcher.asked[-1].partition(".")[0])
    found = json.loads(fetcher.last_root)["signed"]["version"]
    return isinstance(found, int) and found > expected
