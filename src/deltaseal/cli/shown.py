"""A device's status, history and findings as lines for people.

The letter is always shown, what was fixed in plain words, since when, what
comes next and who decides it. Nothing is called "secure", and nothing "up to date".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from deltaseal.cli.words import count, moment

if TYPE_CHECKING:
    from deltaseal.device import Look
    from deltaseal.report import Entry, Finding, ImageUse, Processes, ProcessUse, Status

__all__ = ["finding_lines", "history_lines", "process_lines", "status_lines", "watch_line"]

_LABEL = 12  # columns


def status_lines(status: Status) -> list[str]:
    """A status, the name first."""
    return [status.name, *(f"  {line}" for line in _status(status))]


def _status(status: Status) -> Iterator[str]:
    yield _row("build", _build(status))
    yield _row("state", _state(status))
    if status.applied:
        for fix in status.applied.fixes:
            yield from _fix(fix)
        yield _row("downloaded", f"{status.applied.fetched:,} bytes")
        yield _row("health", status.applied.health)
    if status.underway:
        work = status.underway
        yield _row("on its way", f"{work.id} ({work.stage}, {work.fetched:,} of {work.total:,} bytes)")
    if status.pending:
        users = ", ".join(status.pending.processes)
        yield _row("pending", status.pending.what + (f" of {users}" if users else ""))
    for problem in status.problems:
        since = f" ({moment(problem.time)})" if problem.time else ""
        yield _row(problem.kind, f"{problem.about}: {problem.sentence}{since}")
    yield _row("next", f"{status.next_step.what} (decided by: {status.next_step.who})")
    yield _row("device", f"{status.model}, channel {status.channel}, id {status.device}")


def _build(status: Status) -> str:
    return (
        status.build if status.build == status.base_build else f"{status.build} on base {status.base_build}"
    )


def _state(status: Status) -> str:
    if not status.applied:
        return f"{status.state}: no improvement is applied" if status.state == "BASELINE" else status.state
    how = "by itself" if status.applied.by == "automatic" else f"asked for by {status.applied.by}"
    return f"{status.state}: {status.applied.id} since {moment(status.applied.since)}, {how}"


def _fix(fix: dict[str, Any]) -> Iterator[str]:
    what = fix.get("title") or fix["component"]
    yield _row("fixed", f"{fix['cve']} in {what} (component {fix['component']})")
    if fix.get("impact"):
        yield _row("", fix["impact"])


def _row(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"


def history_lines(entries: Iterable[Entry]) -> list[str]:
    """One line for each thing that happened, oldest first."""
    return [f"{moment(one.time)}  {one.state:<12}  {one.sentence}" for one in entries]


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """One line for each finding."""
    return [f"{one.reason}: {one.sentence}" for one in findings]


def watch_line(found: Look) -> str:
    """One look in one line; what the system does not say is told as unknown."""
    battery = "unknown" if found.battery is None else f"{found.battery} %"
    network = {None: "unknown", True: "metered", False: "not metered"}[found.metered]
    reason = f"{found.error.reason}: " if found.error else ""
    words = f"{found.outcome}: {reason}{found.sentence}"
    return f"{moment(found.time)}  {words} (battery {battery}, network {network})"


def process_lines(found: Processes) -> list[str]:
    """Who still uses what was replaced, file by file; then who is on what is in use now."""
    return list(_processes(found))


def _processes(found: Processes) -> Iterator[str]:
    yield f"in use: {found.name}"
    if not found.replaced:
        yield "no program that can be seen uses anything that was replaced"
    for process in found.replaced:
        yield f"{_who(process)} still uses"
        yield from (f"  {_file(image)}" for image in process.images)
    for of, names in found.by_origin.items():
        yield f"from {of}: {', '.join(names)}"
    if found.current:
        yield f"on what is in use: {', '.join(_who(process) for process in found.current)}"
    if found.unseen:
        yield f"not seen: {count(found.unseen, 'process', 'processes')} of other users"
    if found.pending == "restart":
        yield "to do: restart the device"
    elif found.relaunch:
        yield f"to do: relaunch {', '.join(found.relaunch)}"


def _who(process: ProcessUse) -> str:
    unit = f", {process.unit}" if process.unit else ""
    return f"{process.name} (pid {process.pid}{unit})"


def _file(image: ImageUse) -> str:
    where = f"{image.component}/{image.path}" if image.component else image.path
    ids = (
        f"; build-id {image.build_id[:12]}, now {image.build_id_now[:12] or 'none'}" if image.build_id else ""
    )
    return f"{where} of {image.of} (known by {image.known_by}{ids})"
