"""What holds for the whole run: in continuous integration a skipped test is a failed one."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, nothing about the code.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

# Test (or the beginning of its id) to why it may be skipped. Keep it short.
MAY_BE_SKIPPED: dict[str, str] = {}

_skipped: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Remember a skip that has no leave; an expected failure is none."""
    expected_failure = hasattr(report, "wasxfail")
    if report.skipped and not expected_failure and not report.nodeid.startswith(tuple(MAY_BE_SKIPPED)):
        _skipped[report.nodeid] = report.longrepr[2] if isinstance(report.longrepr, tuple) else "skipped"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped and os.environ.get("CI") == "true":
        terminalreporter.section("skipped without leave (see tests/conftest.py)", red=True)
        for name, why in sorted(_skipped.items()):
            terminalreporter.write_line(f"{name}: {why}")
