"""Is the new state in use, and is it healthy? What WAITING and TRIAL are decided by.

Processes are looked at through the edge; whose file a mapping is, :mod:`mapped` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deltaseal.device.ledger import Base, Improvement, Switch
from deltaseal.device.mapped import Images
from deltaseal.device.store import HOOKS, Store
from deltaseal.device.updater import Updater
from deltaseal.edge import Edge, Process
from deltaseal.report import Pending
from deltaseal.storage import MissingError

__all__ = ["NOT_CHECKED", "Verdict", "judge", "pending", "wait_until_used"]

NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a trial ended: a word for the status, a sentence, and each check that was made."""

    good: bool
    word: str
    sentence: str
    checks: tuple[str, ...]


def wait_until_used(up: Updater) -> bool:
    """WAITING: whether the new state is in use now. ``restart``: another boot; ``relaunch``: by a process."""
    switch = up.ledger.switch
    if switch is not None and switch.activation == "restart":
        return up.edge.boot_id != switch.boot
    running = _listed(up.edge, up.work)
    return bool(_mapping(up, running)) or not running


def judge(up: Updater) -> Verdict:
    """TRIAL: digests, listed processes, hooks; the first that is bad decides."""
    work = up.work
    faults = up.store.slot_faults(work.slot, work.trees, up.base)
    if faults:
        return _bad(f"{', '.join(sorted(faults))} changed after the switch", ("digests: bad",))
    checks = ["digests: good"]
    died = _lives_through_trial(up, work)
    if died is not None:
        checks.append(died or "processes: lived through the trial")
    if died:
        return _bad(died, tuple(checks))
    hooks = tuple(_hooks(up.store))
    for name in hooks:
        result = up.edge.run_hook(up.store.path / HOOKS / name, up.policy.hook_seconds)
        words = "".join(char if char.isprintable() else " " for char in result.words[:200])
        if result.status != 0:
            ended = "did not end in time" if result.status is None else f"ended with {result.status}"
            return _bad(f"health hook {name} {ended}: {words}".rstrip(": "), (*checks, f"{name}: bad"))
        checks.append(f"{name}: good")
    return Verdict(True, "good" if hooks or died is not None else NOT_CHECKED, "", tuple(checks))


def _bad(sentence: str, checks: tuple[str, ...]) -> Verdict:
    return Verdict(False, "bad", sentence, checks)


def _lives_through_trial(up: Updater, work: Improvement) -> str | None:
    """Wait the trial out where a listed process uses the new state.

    Returns ``None`` if there is none to watch, an empty text if all lived, else what happened.
    """
    if not (users := _mapping(up, _listed(up.edge, work))):
        return None
    up.edge.sleep(up.policy.trial_seconds)
    alive = {process.pid for process in up.edge.processes()}
    dead = sorted(name for process in users if process.pid not in alive for name in process.names)
    return f"{', '.join(dead)} did not live through the trial of {up.policy.trial_seconds} s" if dead else ""


def _hooks(store: Store) -> Iterator[str]:
    try:
        with store.inside(HOOKS) as at:
            for name in store.disk.names(at):
                stat = store.disk.stat(at, name)
                if stat.kind == "file" and stat.executable:
                    yield name
    except MissingError:
        return


def pending(
    edge: Edge, store: Store, base: Base, switch: Switch | None, active: Improvement | None
) -> Pending | None:
    """What is still outstanding after the last switch (R13): ``relaunch``, ``restart`` or nothing."""
    if switch is None:
        return None
    if switch.activation == "restart":
        return Pending("restart", ()) if edge.boot_id == switch.boot else None
    stale = Images(edge, store, base, active).stale()
    return Pending("relaunch", tuple(sorted({process.name for process in stale}))) if stale else None


def _listed(edge: Edge, work: Improvement) -> tuple[Process, ...]:
    wanted = set(work.processes) | {
        name[:15] for name in work.processes
    }  # the kernel cuts short names, proc(5)
    return tuple(process for process in edge.processes() if process.names & wanted and process.readable)


def _mapping(up: Updater, processes: tuple[Process, ...]) -> tuple[Process, ...]:
    """Those of the processes that have mapped the new state of a component that changed."""
    images = Images(up.edge, up.store, up.base, up.work)
    return tuple(process for process in processes if images.uses_new(process))
