"""The store on the disk: where everything lies, and the few safe ways to change it.

Layout: docs/spec/store.md, section 2. Which change may be made when is the business of the callers; here is
how.

Invariants:

1. The pointer is a link at every moment, and a whole one: a new link beside is renamed over it, and the
   store's directory is synced before :meth:`Store.point` returns.
2. A slot is only removed while the pointer leads elsewhere; its directory is renamed to nothing else.
3. The reserve's bytes are really written, and random, so that no file system keeps them as a hole or
   compressed.
4. Nothing under ``baseline`` is ever written after it has that name. It is made whole under another one, and
   only ever replaced while the pointer leads elsewhere (:mod:`deltaseal.device.rebase`).
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, cast

from deltaseal.device.ledger import Base, Improvement
from deltaseal.errors import (
    DamagedError,
    DeltasealError,
    DocumentTypeError,
    PolicyError,
    StorageError,
    UsageError,
)
from deltaseal.manifest import Policy, read_policy
from deltaseal.storage import (
    Dir,
    Disk,
    MissingError,
    WrongKindError,
    exists,
    read_file,
    remove_tree,
    replace_link,
    write_file,
)
from deltaseal.storage.recipes import temporary_name
from deltaseal.trees import Listing, Names, scan
from deltaseal.trust import PrivateKey, Trust, UnverifiedDocument, strict_json

__all__ = ["BASELINE", "RESERVE_BYTES", "Identity", "Store", "slot_name"]

BASELINE: Final = "baseline"
ACTIVE: Final = "active"
BASE: Final = ".base"  # in a slot that holds another base on its way: its signed document
BASE_DOCUMENT: Final = "base.document"
BUNDLE: Final = ".bundle"  # beside the components of a slot, which never begin with a dot
FETCH: Final = "fetch"
HOOKS: Final = "health.d"
KEY: Final = "device.key"
METADATA: Final = "metadata"  # a link to the folder of what is believed of a repository
JOURNAL: Final = "journal"
LOCK: Final = "lock"
RESCUED: Final = "rescued"  # the mark of deltaseal-rescue: what it left, and why
RESERVE: Final = "reserve"
UNCONFIRMED: Final = "unconfirmed"  # for deltaseal-rescue: the slot on trial, and a dot for each boot

RESERVE_BYTES: Final = 256 * 1024
KEY_BYTES: Final = 32  # an Ed25519 seed (RFC 8032)
_MARK_BYTES: Final = 256
SMALL_FILE_BYTES: Final = 4 << 20  # of any document or setting that is read whole
STORE_FORMAT: Final = 0

_SLOT: Final = re.compile(r"slot-([1-9][0-9]{0,8})")
_METADATA: Final = re.compile(r"metadata-([1-9][0-9]{0,8})")


def slot_name(number: int) -> str:
    """The directory of a slot."""
    return f"slot-{number}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is; never changes."""

    id: str  # random, hexadecimal
    model: str
    channel: str

    def dumps(self) -> bytes:
        """The file ``device.json``."""
        values = {"channel": self.channel, "format": STORE_FORMAT, "id": self.id, "model": self.model}
        return strict_json.dumps(values) + b"\n"

    @classmethod
    def loads(cls, data: bytes) -> Identity:
        """Read ``device.json``. Raises ``DocumentTypeError``."""
        values = strict_json.loads(data)
        if values.get("format") != STORE_FORMAT or set(values) != {"channel", "format", "id", "model"}:
            raise DocumentTypeError("device.json is not of a store that this version knows")
        return cls(str(values["id"]), str(values["model"]), str(values["channel"]))


# Read anew by every verb, from the disk; what the same bytes mean need not be found out again.
_identity_again: Final = functools.lru_cache(maxsize=4)(Identity.loads)
_policy_again: Final = functools.lru_cache(maxsize=4)(read_policy)
_trust_again: Final = functools.lru_cache(maxsize=4)(Trust.load)


class Store:
    """An open store. Close it, or use it in a ``with``."""

    def __init__(self, disk: Disk, root: Dir, path: Path) -> None:
        self.disk = disk
        self.root = root
        self._path = path

    @classmethod
    def open(cls, disk: Disk, path: Path) -> Store:
        """Open the store at ``path``. Raises ``UsageError`` if there is none."""
        try:
            root = disk.open_root(path)
        except (MissingError, WrongKindError) as error:
            raise UsageError(
                f"{str(path)!r} is not the folder of a device",
                hint="name it with --store, or make one with `deltaseal device create`",
                path=str(path),
            ) from error
        if not exists(disk, root, "device.json"):
            root.close()
            raise UsageError(
                f"{str(path)!r} holds no device",
                hint="make one with `deltaseal device create`",
                path=str(path),
            )
        return cls(disk, root, path)

    @functools.cached_property
    def path(self) -> Path:
        """Its path without links, as the kernel names what processes map; not used for the disk."""
        return self._path.resolve()

    def close(self) -> None:
        """Give the directory back."""
        self.root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What is read --------------------------------------------------------------

    def identity(self) -> Identity:
        """Who the device is."""
        return _identity_again(self.read("device.json"))

    def trust(self) -> Trust:
        """Whose documents count: by the metadata of a repository that was taken in last, or as pinned."""
        if not exists(self.disk, self.root, METADATA):
            return _trust_again(self.read("trust.json"))
        with self.inside(self.disk.read_link(self.root, METADATA)) as at:
            return _trust_again(read_file(self.disk, at, "trust.json", limit=SMALL_FILE_BYTES))

    def policy(self) -> Policy:
        """The owner's policy; the default one where there is no file.

        Raises ``PolicyError`` if others than its owner could have written it.
        """
        try:
            mode = self.disk.stat(self.root, "policy.toml").mode
        except MissingError:
            return Policy()
        if mode & 0o022:
            raise PolicyError(
                "policy.toml can be written by others than its owner",
                hint="chmod 600 policy.toml",
                mode=oct(mode),
            )
        try:
            text = self.read("policy.toml").decode()
        except UnicodeDecodeError as error:
            raise UsageError("policy.toml is not UTF-8") from error
        return _policy_again(text)

    def key(self) -> PrivateKey:
        """The device's own key, with which it signs what it says of itself.

        Raises ``StorageError`` for who may not read it, ``DamagedError`` for one that is none.
        """
        seed = self.read(KEY)
        if len(seed) != KEY_BYTES:
            raise DamagedError("device.key is no key of this device", expected=KEY_BYTES, found=len(seed))
        return PrivateKey.generate("ed25519", random=lambda size: seed)

    def read(self, name: str) -> bytes:
        """A small file of the store, whole."""
        return read_file(self.disk, self.root, name, limit=SMALL_FILE_BYTES)

    def metadata(self) -> dict[str, bytes] | None:
        """What is believed of a repository, by file name; ``None`` on a device that was made without one."""
        if not exists(self.disk, self.root, METADATA):
            return None
        with self.inside(self.disk.read_link(self.root, METADATA)) as at:
            return {
                name: read_file(self.disk, at, name, limit=SMALL_FILE_BYTES) for name in self.disk.names(at)
            }

    def take_metadata(self, files: Mapping[str, bytes]) -> None:
        """Believe these files from now on: a new folder, whole and durable, then one switch of the link."""
        matches = map(_METADATA.fullmatch, self.disk.names(self.root))
        name = f"metadata-{max((int(found[1]) for found in matches if found), default=0) + 1}"
        with self.disk.make_dir(self.root, name) as at:
            for file_name, data in sorted(files.items()):
                with self.disk.create(at, file_name) as file:
                    file.write(data)
                    self.disk.sync(file)
            self.disk.sync_dir(at)
        self.disk.sync_dir(self.root)
        replace_link(self.disk, self.root, METADATA, name)
        self.clear_metadata()

    def clear_metadata(self) -> None:
        """Remove folders of metadata that the link does not lead to."""
        kept = self.disk.read_link(self.root, METADATA) if exists(self.disk, self.root, METADATA) else ""
        for name in self.disk.names(self.root):
            if _METADATA.fullmatch(name) and name != kept:
                remove_tree(self.disk, self.root, name)

    def inside(self, name: str) -> Dir:
        """A directory of the store."""
        return self.disk.open_dir(self.root, name)

    # The pointer ---------------------------------------------------------------

    def pointer(self) -> str | None:
        """Where ``active`` leads, as its text; ``None`` if it is no link or leads nowhere."""
        try:
            target = self.disk.read_link(self.root, ACTIVE)
            there = (target == BASELINE or _SLOT.fullmatch(target)) and self.disk.stat(
                self.root, target
            ).kind == "dir"
        except (MissingError, WrongKindError):
            return None
        return target if there else None

    def point(self, target: str) -> None:
        """Let ``active`` lead to ``target``, durably."""
        replace_link(self.disk, self.root, ACTIVE, target)

    # What deltaseal-rescue reads and writes --------------------------------------

    def await_confirmation(self, number: int) -> None:
        """Let deltaseal-rescue count the boots from now on, until :meth:`confirmed`."""
        if not self._small(UNCONFIRMED).startswith(slot_name(number) + "\n"):
            write_file(self.disk, self.root, UNCONFIRMED, f"{slot_name(number)}\n".encode())

    def confirmed(self) -> None:
        """Nothing waits for a confirmation any more."""
        self._forget(UNCONFIRMED)

    def rescued(self) -> str:
        """What deltaseal-rescue did, as a sentence; nothing if it did nothing since :meth:`journaled`."""
        left, _, why = self._small(RESCUED).strip().partition(" ")
        if not left:
            return ""
        asked = "a person asked for it" if why == "asked" else "it was not confirmed in four boots"
        return f"deltaseal-rescue left {left if left.isascii() else 'it'} for the baseline: {asked}"

    def journaled(self) -> None:
        """What deltaseal-rescue did is in the journal now."""
        self._forget(RESCUED)

    def _small(self, name: str) -> str:
        try:
            return read_file(self.disk, self.root, name, limit=_MARK_BYTES).decode("ascii", "replace")
        except MissingError:
            return ""

    def _forget(self, name: str) -> None:
        if exists(self.disk, self.root, name):
            self.disk.unlink(self.root, name)
            self.disk.sync_dir(self.root)

    # Slots ---------------------------------------------------------------------

    def slots(self) -> list[int]:
        """The numbers of the slots that are there."""
        return [int(match[1]) for name in self.disk.names(self.root) if (match := _SLOT.fullmatch(name))]

    def wipe_slots(self, *, keep: set[int]) -> None:
        """Remove every slot but those to keep, and never the one in use."""
        in_use = self.pointer()
        for number in self.slots():
            if number not in keep and slot_name(number) != in_use:
                remove_tree(self.disk, self.root, slot_name(number))

    def slot_bundle(self, number: int) -> UnverifiedDocument:
        """The signed manifest that a slot says it was made from."""
        return self._slot_document(number, BUNDLE)

    def slot_base(self, number: int) -> UnverifiedDocument | None:
        """The signed base that a slot says it holds; ``None`` if it is not that kind of slot."""
        try:
            return self._slot_document(number, BASE)
        except MissingError:
            return None

    def _slot_document(self, number: int, name: str) -> UnverifiedDocument:
        with self.inside(slot_name(number)) as slot:
            return UnverifiedDocument.parse(read_file(self.disk, slot, name, limit=SMALL_FILE_BYTES))[0]

    def tree_digest(self, holder: str, component: str, base: Base) -> str:
        """Hash a component's tree in ``baseline`` or a slot. Raises ``TreeError`` or ``StorageError``."""
        return self.listing(holder, component, base).digest.hex()

    def listing(self, holder: str, component: str, base: Base) -> Listing:
        """Scan and hash a component's tree in ``baseline`` or a slot. Raises as :meth:`tree_digest`."""
        with self.inside(holder) as at, self.disk.open_dir(at, component) as tree:
            return scan(self.disk, tree, names=cast(Names, base.names), exclude=base.exclude)

    def baseline_faults(self, base: Base) -> dict[str, str]:
        """Components of the baseline that differ from the device's record, each with what was found."""
        found = {name: self._digest_or_fault(BASELINE, name, base) for name in base.found}
        return {name: what for name, what in found.items() if what != base.found[name]}

    def slot_faults(self, number: int, trees: dict[str, str], base: Base) -> dict[str, str]:
        """Components of a slot that are not as they must be, each with what was found.

        A touched component is in full and has its digest; any other is the link to the baseline.
        """
        holder = slot_name(number)
        faults = {
            name: what
            for name, digest in trees.items()
            if (what := self._digest_or_fault(holder, name, base)) != digest
        }
        for name in sorted(base.found.keys() - trees.keys()):
            if self._link_or_none(holder, name) != link_to_baseline(name):
                faults[name] = "not the link to the baseline"
        return faults

    def _digest_or_fault(self, holder: str, component: str, base: Base) -> str:
        try:
            return self.tree_digest(holder, component, base)
        except StorageError:
            pass  # a disk that fails once is asked once more; what cannot be read twice counts as damaged
        except DeltasealError as error:
            return error.sentence
        try:
            return self.tree_digest(holder, component, base)
        except DeltasealError as error:
            return error.sentence

    def _link_or_none(self, holder: str, name: str) -> str | None:
        try:
            with self.inside(holder) as at:
                return self.disk.read_link(at, name)
        except (MissingError, WrongKindError):
            return None

    # Reserve, lock, leftovers --------------------------------------------------

    def fill_reserve(self, random: Callable[[int], bytes]) -> None:
        """Write the reserve if it is not there in full."""
        with contextlib.suppress(MissingError):
            if self.disk.stat(self.root, RESERVE).size == RESERVE_BYTES:
                return
        write_file(self.disk, self.root, RESERVE, random(RESERVE_BYTES), mode=0o600)

    def give_up_reserve(self) -> None:
        """Remove the reserve, so that what comes next has room on a full disk."""
        with contextlib.suppress(MissingError):
            self.disk.unlink(self.root, RESERVE)
            self.disk.sync_dir(self.root)

    def locked(self) -> AbstractContextManager[None]:
        """The one updater's lock. Raises ``LockedError`` if another holds it."""
        return self.disk.lock(self.root, LOCK)

    def clear_leftovers(self) -> None:
        """Remove the temporary names that a power cut may have left beside what was written."""
        self.clear_metadata()
        for holder in ("", JOURNAL, FETCH):
            with self.inside(holder) if holder else contextlib.nullcontext(self.root) as at:
                for name in self.disk.names(at):
                    if name.startswith(temporary_name("")):
                        remove_tree(self.disk, at, name)

    def clear_fetch(self, *, keep: frozenset[str] = frozenset()) -> None:
        """Remove all downloads but those to keep."""
        with self.inside(FETCH) as fetch:
            for name in self.disk.names(fetch):
                if name not in keep:
                    self.disk.unlink(fetch, name)


def link_to_baseline(component: str) -> str:
    """The target of an untouched component's link, seen from inside a slot."""
    return f"../{BASELINE}/{component}"


def holder_of(improvement: Improvement | None) -> str:
    """The directory that holds the components while this improvement, or none, is applied."""
    return BASELINE if improvement is None else slot_name(improvement.slot)
