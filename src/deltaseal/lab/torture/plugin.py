"""The pytest plugin: ``pytest --deltaseal-bundle …`` puts a bundle to the test, part by part.

Options, all together, or none for the built-in scenario::

    --deltaseal-bundle FILE   the bundle
    --deltaseal-base FILE     the signed base that it is for
    --deltaseal-from DIR      the base's components, one directory each
    --deltaseal-trust FILE    the trust file that knows who signed them
    --deltaseal-full          every choice of what survives a cut

Fixtures, all of the session:

``deltaseal_stock``
    What there is to install (``deltaseal.lab.torture.stock.Stock``): base, trees, bundles, sources of them.
``deltaseal_bench``
    Prepared simulated disks and devices on them (``deltaseal.lab.torture.bench.Bench``).
``deltaseal_torture``
    A function: takes kinds of test (``"power"``, …; none for all) and gives the
    :class:`~deltaseal.lab.torture.Report`.

With ``--deltaseal-bundle`` the plugin adds a test for each part of the run, by itself; a suite that wants the
built-in scenario, or to judge for itself, asks for the fixtures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deltaseal.lab.torture.bench import Bench
    from deltaseal.lab.torture.result import Finding, Report
    from deltaseal.lab.torture.run import Given, Job
    from deltaseal.lab.torture.stock import Stock

__all__ = ["deltaseal_bench", "deltaseal_stock", "deltaseal_torture"]

_FILES = {
    "bundle": "a bundle to put to the test",
    "base": "the signed base that the bundle is for",
    "from": "the folder with one directory for each component of the base",
    "trust": "the trust file that knows who signed them",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("deltaseal", "deltaseal torture")
    for name, words in _FILES.items():
        group.addoption(f"--deltaseal-{name}", metavar="PATH", help=words)
    group.addoption("--deltaseal-full", action="store_true", help="every choice of what survives a power cut")


def given_by(config: pytest.Config) -> Given | None:
    """What the options give; ``None`` for the built-in scenario."""
    values = {name: config.getoption(f"--deltaseal-{name}") for name in _FILES}
    if not any(values.values()):
        return None
    missing = [f"--deltaseal-{name}" for name, value in values.items() if not value]
    if missing:
        raise pytest.UsageError(f"{', '.join(missing)} must be given too")
    from pathlib import Path

    from deltaseal.lab.torture.run import Given

    bundle, base, trees, trust = (Path(values[name]) for name in _FILES)
    return Given(bundle, base, trees, trust)


@pytest.fixture(scope="session")
def deltaseal_stock(pytestconfig: pytest.Config) -> Iterator[Stock]:
    """What there is to install."""
    from deltaseal.lab.torture.run import stock_for

    with stock_for(given_by(pytestconfig)) as stock:
        yield stock


@pytest.fixture(scope="session")
def deltaseal_bench(deltaseal_stock: Stock) -> Bench:
    """Prepared simulated disks, and devices on them."""
    from deltaseal.lab.torture.bench import Bench

    return Bench(deltaseal_stock)


@pytest.fixture(scope="session")
def deltaseal_torture(pytestconfig: pytest.Config) -> Callable[..., Report]:
    """Run kinds of test and get the report."""
    from deltaseal.lab.torture.run import KINDS, torture

    def run(*kinds: str) -> Report:
        full = bool(pytestconfig.getoption("--deltaseal-full"))
        return torture(given_by(pytestconfig), full=full, kinds=kinds or KINDS)

    return run


# ---- one test for each part ------------------------------------------------------------------------------


class _Torture(pytest.Collector):
    """Stands beside the files of a session, with one item for each part of the run."""

    def collect(self) -> Iterator[pytest.Item]:
        from deltaseal.errors import DeltasealError
        from deltaseal.lab.torture.run import jobs_of, stock_for

        context = contextlib.ExitStack()
        try:
            stock = context.enter_context(stock_for(given_by(self.config)))
        except (DeltasealError, OSError) as error:
            raise pytest.UsageError(f"the bundle cannot be put to the test: {error}") from error
        self.config.add_cleanup(context.close)
        for job in jobs_of(stock, full=bool(self.config.getoption("--deltaseal-full"))):
            yield _Item.from_parent(self, name=f"{job.kind}: {job.name}", job=job, stock=stock)


class _Item(pytest.Item):
    """One part."""

    def __init__(self, *, job: Job, stock: Stock, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self._job = job
        self._stock = stock

    def runtest(self) -> None:
        from deltaseal.lab.torture.bench import Bench

        findings = [finding for part in self._job.work(Bench(self._stock)) for finding in part.findings]
        if findings:
            raise _Found(findings)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        if not isinstance(excinfo.value, _Found):
            return str(super().repr_failure(excinfo))
        return "\n".join(f"{each.what}: {each.sentence} {each.facts}" for each in excinfo.value.findings)

    def reportinfo(self) -> tuple[str, None, str]:
        return "deltaseal torture", None, self.name


class _Found(AssertionError):
    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = findings


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add the parts of the run to what was collected, where a bundle is given; ``-k`` chooses among them."""
    if session.config.getoption("--deltaseal-bundle"):
        collector = _Torture.from_parent(session, name="deltaseal torture", nodeid="deltaseal torture")
        items.extend(collector.collect())
