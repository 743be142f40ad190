"""What ``device export`` and ``device audit`` write, from the device's own values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from deltaseal._version import __version__
from deltaseal.cli.reading import load_public
from deltaseal.cli.words import count, moment
from deltaseal.errors import UsageError

if TYPE_CHECKING:
    from deltaseal.cli.app import App
    from deltaseal.device import Device
    from deltaseal.repo import Source
    from deltaseal.report import AuditSummary

__all__ = [
    "audit_words",
    "checked_audit",
    "exported",
    "exported_files",
    "rescue_program",
    "verified_audit",
    "write_folder",
]

_AUDIT_BYTES = 1 << 30


def exported(app: App, device: Device, kind: str, sources: Callable[[], Sequence[Source]]) -> bytes:
    """What a device says of itself, in the form of one tool."""
    from deltaseal.report import Status, apple, intune_values, jamf, openvex

    one_of: dict[str, Callable[[Status], str]] = {"apple": apple, "intune": intune_values, "jamf": jamf}
    if kind == "audit":
        lines = device.audit()
        verified_audit(lines)
        return b"".join(lines)
    status = device.status()
    if kind != "openvex":
        return one_of[kind](status).encode()
    known = device.known_fixes(sources())
    if not known:
        raise UsageError(
            "this device has heard of no vulnerability yet, and OpenVEX needs a statement",
            hint="name a folder with the system's catalogue with --source",
        )
    return openvex(status, known, now=app.edge.now(), program=f"deltaseal {__version__}").encode()


def exported_files(device: Device, *, store: Path) -> dict[str, bytes]:
    """The policy and the scripts for Intune."""
    from deltaseal.report import intune_files

    files = intune_files(device.status(), store=str(store.resolve()))
    return {name: text.encode() for name, text in files.items()}


def verified_audit(lines: Sequence[bytes]) -> AuditSummary:
    """The summary of an audit that was just made. Raises ``DamagedError`` for a damaged journal."""
    from deltaseal.report import check_audit

    return check_audit(b"".join(lines))


def checked_audit(path: Path, key: Path | None) -> AuditSummary:
    """The summary of an audit in a file, verified."""
    from deltaseal.report import check_audit
    from deltaseal.storage import FileSource

    public = load_public(key) if key else None
    with FileSource(path) as source:
        return check_audit(source.read_at(0, min(source.size(), _AUDIT_BYTES + 1)), key=public)


def rescue_program() -> Path:
    """Where the rescue program of this installation lies: beside the compiled core."""
    core = find_spec("deltaseal._core._native")
    if core is None or core.origin is None:
        raise UsageError("this installation has no compiled core, so no rescue program")
    return Path(core.origin).with_name("deltaseal-rescue")


def audit_words(summary: AuditSummary) -> list[str]:
    """The summary in words."""
    evidence = f", {count(summary.evidence, 'record')} of evidence" if summary.evidence else ""
    records = count(summary.records, "record")
    return [
        f"the chain of {records} holds{evidence}; device {summary.device} in state {summary.state}",
        f"made {moment(summary.made)}, head {summary.head}, key {summary.key.key_hint.hex()}",
    ]


def write_folder(app: App, folder: Path, files: dict[str, bytes], *, force: bool) -> None:
    """Write a new folder of files; scripts may be executed."""
    from deltaseal.storage import RealDisk, open_output_dir, write_file

    disk = RealDisk()
    with open_output_dir(folder, force=force, disk=disk) as at:
        for name, data in files.items():
            write_file(disk, at, name, data, mode=0o755 if name.endswith(".sh") else 0o644)
    app.done({"files": sorted(files)}, f"{folder}: {', '.join(sorted(files))}")
