"""A whole run: every part, on as many processes as asked for, and the judgement of the whole."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltaseal.device.states import ROWS, Row
from deltaseal.lab.torture import bent, faults, hostile, kill, power, swap
from deltaseal.lab.torture.acts import Act, acts_of, spoilt_bundles
from deltaseal.lab.torture.bench import Bench, UnpreparedError
from deltaseal.lab.torture.result import Finding, Part, Report
from deltaseal.lab.torture.seen import Crossing
from deltaseal.lab.torture.stock import Stock, builtin_stock, stock_of

__all__ = ["KINDS", "LEAST_CUTS", "Given", "Job", "jobs_of", "stock_for", "torture"]

LEAST_CUTS = 200  # cut points of the built-in scenario; fewer, and the run says little
KINDS = ("power", "faults", "kill", "bent", "swap", "hostile")
BUILTIN = "the built-in scenario"

Done = Callable[[Part], None]


@dataclass(frozen=True, slots=True)
class Given:
    """Somebody's own bundle, and what it is for."""

    bundle: Path
    base: Path  # the signed base
    trees: Path  # a folder with one directory for each component of the base
    trust: Path
    model: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work that stands alone."""

    kind: str
    name: str
    weight: int  # how long it takes, beside the others; the longest begin first
    work: Callable[[Bench], Sequence[Part]]


@contextlib.contextmanager
def stock_for(given: Given | None) -> Iterator[Stock]:
    """The stock of a run: the built-in scenario, or what is given."""
    if given is not None:
        yield stock_of(given.bundle, given.base, given.trees, given.trust, model=given.model)
        return
    with tempfile.TemporaryDirectory(prefix="deltaseal-torture-") as scratch:
        yield spoilt_bundles(builtin_stock(Path(scratch)))


def jobs_of(stock: Stock, *, full: bool = False, kinds: Sequence[str] = KINDS, seed: int = 0) -> list[Job]:
    """Everything that a run does."""
    acts = acts_of(stock)
    everyday = [act for act in acts if act.everyday]
    depth = power.CUT_FULL if full else power.CUT_ONCE
    jobs = [Job("power", act.name, 30 if act.everyday else 5, _cutting(act, depth)) for act in acts]
    for act in everyday:
        if act.name == "second letter" and not full:
            continue  # it does nothing that an update does not, only more of it
        # Of what is only read, the default run takes a part where the act is long.
        reads = 1 if full or act.name in ("update", "removal") else 5
        jobs += [
            Job("faults", f"{act.name}: {fault.name}", 20, _failing(act, fault, reads))
            for fault in faults.FAULTS
        ]
    short = [act for act in everyday if act.name != "rebase"]
    jobs += [Job("kill", act.name, 10, _killing(act, 100 if full else 5, seed)) for act in short]
    jobs += [
        Job("swap", f"{acts[0].name}: {target}", 8, _swapping(acts[0], target, 1 if full else 5))
        for target in swap.TARGETS
    ]
    jobs.append(Job("swap", "apply", 3, _swapping_under_apply(1 if full else 2)))
    jobs.append(Job("bent", "documents", 40, _signed(1 if full else 8)))
    jobs.append(Job("bent", "payloads", 3, _bending(200 if full else 12, seed)))
    jobs.append(Job("bent", "journal", 6, _journal(7 if full else 97)))
    if stock.builtin:
        jobs.append(Job("hostile", "listings", 1, lambda bench: [hostile.play_listings()]))
        jobs.append(Job("hostile", "deltas", 3, lambda bench: [hostile.play_deltas(bench)]))
        jobs.append(Job("hostile", "image deltas", 5, lambda bench: [hostile.bend_image_delta(bench)]))
    return [job for job in jobs if job.kind in kinds]


def _cutting(act: Act, depth: power.Depth) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: [power.cut_everywhere(bench, act, depth)]


def _failing(act: Act, fault: faults.Fault, reads: int) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: [faults.fail_everywhere(bench, act, fault, reads=reads)]


def _killing(act: Act, times: int, seed: int) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: [kill.kill_often(bench, act, times=times, seed=seed)]


def _swapping(act: Act, target: str, every: int) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: [swap.swap_everywhere(bench, act, target, every=every)]


def _swapping_under_apply(every: int) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: [swap.swap_under_apply(bench, every=every)]


def _signed(others: int) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: bent.bend_documents(bench, others=others)


def _bending(samples: int, seed: int) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: [bent.bend_payloads(bench, samples=samples, seed=seed)]


def _journal(every: int) -> Callable[[Bench], Sequence[Part]]:
    return lambda bench: [bent.bend_journal(bench, every=every)]


def torture(
    given: Given | None = None,
    *,
    full: bool = False,
    kinds: Sequence[str] = KINDS,
    processes: int = 1,
    seed: int = 0,
    done: Done = lambda part: None,
) -> Report:
    """Put the real updater to the test; ``done`` hears of each part as it ends.

    ``processes`` changes how long it takes and the order of ``done``, nothing else.
    """
    with stock_for(given) as stock:
        jobs = jobs_of(stock, full=full, kinds=kinds, seed=seed)
        parts = _in_order(jobs, _work(jobs, stock, processes, done))
    name = BUILTIN if given is None else given.bundle.name
    crossed = {crossing for part in parts for crossing in part.crossed}
    missed = rows_not_crossed(crossed)
    whole = given is None and set(kinds) == set(KINDS)
    return Report(
        subject=name,
        mode="full" if full else "default",
        parts=parts,
        shortcomings=[*_missed(missed), *_too_few(parts)] if whole else [],
        rows=len(ROWS),
        crossed=len(ROWS) - len(missed),
    )


def rows_not_crossed(crossed: set[Crossing]) -> list[Row]:
    """The rows of the device's state table that no journal told of."""
    return [
        row
        for row in ROWS
        if not any(
            before in row.states and event == row.event and after in row.next
            for before, event, after in crossed
        )
    ]


def _missed(rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        states = ", ".join(row.states)
        yield Finding(
            "row not crossed", f"no device went from {states} by {row.event}", {"event": row.event.value}
        )


def _too_few(parts: Sequence[Part]) -> Iterator[Finding]:
    cuts = sum(part.cuts for part in parts if part.kind == "power")
    if cuts < LEAST_CUTS:
        yield Finding(
            "too few cuts", f"the power was cut at {cuts} points, {LEAST_CUTS} are the least", {"cuts": cuts}
        )


# ---- one process or several ------------------------------------------------------------------------------

_jobs: Sequence[Job] = ()
_bench: Bench | None = None


def _work(jobs: Sequence[Job], stock: Stock, processes: int, done: Done) -> dict[int, Sequence[Part]]:
    global _jobs, _bench
    _jobs, _bench = jobs, Bench(stock)
    order = sorted(range(len(jobs)), key=lambda number: -jobs[number].weight)
    found: dict[int, Sequence[Part]] = {}
    with contextlib.ExitStack() as stack:
        if processes > 1:
            # Forked, so that they have the stock and the jobs, which are functions.
            pool = multiprocessing.get_context("fork").Pool(processes, _die_by_signals)
            stack.enter_context(pool)
            results = pool.imap_unordered(_do, order)
        else:
            results = map(_do, order)  # type: ignore[assignment]
        for number, parts in results:
            found[number] = parts
            for part in parts:
                done(part)
    _jobs, _bench = (), None
    return found


def _die_by_signals() -> None:
    """What the command line makes of signals is not meant for these processes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _do(number: int) -> tuple[int, Sequence[Part]]:
    assert _bench is not None, "a run is on"
    job = _jobs[number]
    try:
        return number, job.work(_bench)
    except UnpreparedError as error:
        part = Part(job.kind, job.name, "")
        part.find("preparation", str(error))
        return number, [part]


def _in_order(jobs: Sequence[Job], found: dict[int, Sequence[Part]]) -> list[Part]:
    return [part for number in range(len(jobs)) for part in found[number]]
