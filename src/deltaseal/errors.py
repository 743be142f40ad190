"""Every way deltaseal says no: one table of reason codes, exit codes and hints.

The table is the single source: exception classes carry their row, ``--help``
and the README print it, and tests hold both against it.  A reason code (such
as ``E_BASE``) names what was wrong; the exit code groups reasons by what the
caller should do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = [
    "EXIT_CODES",
    "BaseMismatchError",
    "BatteryError",
    "BrokenError",
    "ChecksFailedError",
    "DamagedError",
    "DeltaError",
    "DeltasealError",
    "DeviceError",
    "DigestError",
    "DocumentTypeError",
    "ExitCode",
    "ExpiredError",
    "HeldError",
    "LimitError",
    "LockedError",
    "ModelError",
    "NetworkError",
    "NothingToDo",
    "PolicyError",
    "RolledBackError",
    "SequenceError",
    "SignatureError",
    "SpaceError",
    "StorageError",
    "TreeError",
    "UsageError",
    "WillResumeError",
    "WithdrawnError",
]


@dataclass(frozen=True, slots=True)
class ExitCode:
    """One row of the table: the process's exit code and what it means."""

    code: int
    reasons: tuple[str, ...]
    meaning: str


EXIT_CODES: tuple[ExitCode, ...] = (
    ExitCode(0, (), "done, or nothing to do (the reason is printed)"),
    ExitCode(1, (), "a bug in deltaseal"),
    ExitCode(2, ("E_USAGE",), "wrong usage"),
    ExitCode(3, ("NOTHING",), "nothing to do, with --exit-code"),
    ExitCode(10, ("E_SIG",), "a signature is missing, wrong, or not enough"),
    ExitCode(11, ("E_EXPIRED",), "a document has expired"),
    ExitCode(12, ("E_SEQ",), "older than what was already seen, or already spent"),
    ExitCode(13, ("E_BASE",), "made for another base, or the wrong old file"),
    ExitCode(14, ("E_MODEL", "E_DEVICE"), "not for this model or device"),
    ExitCode(15, ("E_TYPE",), "not the kind of document or file expected"),
    ExitCode(16, ("E_DIGEST",), "bytes differ from their digest"),
    ExitCode(17, ("E_TREE",), "a tree that must not be"),
    ExitCode(18, ("E_DELTA",), "a delta that cannot be applied"),
    ExitCode(19, ("E_LIMIT",), "over a limit"),
    ExitCode(20, ("E_WITHDRAWN", "E_HELD", "E_POLICY"), "withdrawn, held, or not allowed by policy"),
    ExitCode(21, ("E_SPACE",), "not enough space"),
    ExitCode(22, ("E_IO",), "reading or writing failed"),
    ExitCode(23, ("E_LOCKED",), "another updater is at work"),
    ExitCode(24, ("E_BATTERY",), "battery too low"),
    ExitCode(25, ("ROLLED_BACK",), "failed, rolled back, safe"),
    ExitCode(26, ("WILL_RESUME",), "interrupted, will resume"),
    ExitCode(27, ("E_NET",), "the network failed"),
    ExitCode(28, ("E_DAMAGED",), "bytes on the device differ from its own record"),
    ExitCode(29, ("BROKEN",), "no slot with a good digest; needs rebase"),
    ExitCode(30, ("CHECKS",), "a run of many checks failed"),
)

_EXIT_BY_REASON = {reason: row.code for row in EXIT_CODES for reason in row.reasons}


class DeltasealError(Exception):
    """A refusal with its reason code, a sentence, the fact that decided it, and a hint.

    ``sentence`` says what was expected and what was found; ``facts`` holds the
    same as values for ``--json``; ``hint`` says what to do next.
    """

    reason = "E_BUG"
    default_hint = ""

    def __init__(self, sentence: str, *, hint: str = "", **facts: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint or self.default_hint
        self.facts: dict[str, Any] = facts

    @property
    def exit_code(self) -> int:
        """The process's exit code for this reason (see ``EXIT_CODES``)."""
        return _EXIT_BY_REASON.get(self.reason, 1)

    def to_json(self) -> dict[str, Any]:
        """The error as plain JSON values."""
        return {
            "reason": self.reason,
            "exit_code": self.exit_code,
            "sentence": self.sentence,
            "hint": self.hint,
            "facts": self.facts,
        }


class UsageError(DeltasealError):
    reason = "E_USAGE"
    default_hint = "`deltaseal COMMAND --help` says what is expected"


class NothingToDo(DeltasealError):
    reason = "NOTHING"
    default_hint = "`deltaseal device status` says what is and what comes next"


class SignatureError(DeltasealError):
    reason = "E_SIG"
    default_hint = "get the file again from its publisher; do not install it"


class ExpiredError(DeltasealError):
    reason = "E_EXPIRED"
    default_hint = "get a newer one from the publisher"


class SequenceError(DeltasealError):
    reason = "E_SEQ"
    default_hint = "something newer was already accepted; get the current release"


class BaseMismatchError(DeltasealError):
    reason = "E_BASE"
    default_hint = "use the exact version this was made for"


class ModelError(DeltasealError):
    reason = "E_MODEL"
    default_hint = "use the release that lists this model"


class DeviceError(DeltasealError):
    reason = "E_DEVICE"
    default_hint = "make a new request on this device and have a manifest issued for it"


class DocumentTypeError(DeltasealError):
    reason = "E_TYPE"
    default_hint = "run `deltaseal inspect` on the file to see what it is"


class DigestError(DeltasealError):
    reason = "E_DIGEST"
    default_hint = "the file is damaged or was exchanged; get it again"


class TreeError(DeltasealError):
    reason = "E_TREE"
    default_hint = "use another tree, or get the file that describes it again"


class DeltaError(DeltasealError):
    reason = "E_DELTA"
    default_hint = "the delta is damaged; get it again or make it again"


class LimitError(DeltasealError):
    reason = "E_LIMIT"
    default_hint = "check that it is the right file; an honest one is far below this limit"


class WithdrawnError(DeltasealError):
    reason = "E_WITHDRAWN"
    default_hint = "wait for the release that replaces it"


class HeldError(DeltasealError):
    reason = "E_HELD"
    default_hint = "a person can try again with `deltaseal device install ID --retry`"


class PolicyError(DeltasealError):
    reason = "E_POLICY"
    default_hint = "the owner of the device decides, in policy.toml of its folder"


class SpaceError(DeltasealError):
    reason = "E_SPACE"
    default_hint = "free some space and run the same command again"


class StorageError(DeltasealError):
    reason = "E_IO"
    default_hint = "check the path, its permissions and the storage, and run the same command again"


class LockedError(DeltasealError):
    reason = "E_LOCKED"
    default_hint = "wait until the other deltaseal has ended"


class BatteryError(DeltasealError):
    reason = "E_BATTERY"
    default_hint = "charge the device and run the same command again"


class RolledBackError(DeltasealError):
    reason = "ROLLED_BACK"
    default_hint = "`deltaseal device history` says what failed"


class WillResumeError(DeltasealError):
    reason = "WILL_RESUME"
    default_hint = "run the same command again"


class NetworkError(DeltasealError):
    reason = "E_NET"
    default_hint = "check the sources and run the same command again"


class DamagedError(DeltasealError):
    reason = "E_DAMAGED"
    default_hint = "run `deltaseal device verify` to see what differs"


class BrokenError(DeltasealError):
    reason = "BROKEN"
    default_hint = "`deltaseal device rebase` puts it on a signed base again; nothing else leads out"


class ChecksFailedError(DeltasealError):
    reason = "CHECKS"
    default_hint = "the findings above name each check"
