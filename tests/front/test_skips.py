"""The rule of tests/conftest.py, on runs of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

RULE = Path(__file__).parents[1] / "conftest.py"
SKIPS = "import pytest\ndef test_good(): pass\ndef test_away(): pytest.skip('no such thing here')\n"
SKIPS_WHOLE = "import pytest\npytest.skip('not on this system', allow_module_level=True)\n"
EXPECTS = "import pytest\n@pytest.mark.xfail\ndef test_known(): assert 0\n"


@pytest.fixture
def ruled(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(RULE.read_text())
    return pytester


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:benchmark", "-p", "no:xdist", "-p", "no:hypothesispytest")


def test_in_ci_a_skip_fails_the_run_and_is_named(
    ruled: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    ruled.makepyfile(test_one=SKIPS, test_two=SKIPS_WHOLE)
    result = run(ruled)
    result.stdout.fnmatch_lines(
        ["test_one.py::test_away: *no such thing here", "test_two.py: *not on this system"]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_at_a_desk_a_skip_is_a_skip(ruled: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "false")
    ruled.makepyfile(test_one=SKIPS)
    assert run(ruled).ret == pytest.ExitCode.OK


def test_leave_is_given_by_name_and_an_expected_failure_needs_none(
    ruled: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    leave = 'MAY_BE_SKIPPED: dict[str, str] = {"test_leave.py::test_away": "for this test"}'
    rule = RULE.read_text().splitlines()
    ruled.makeconftest("\n".join(leave if line.startswith("MAY_BE_SKIPPED") else line for line in rule))
    ruled.makepyfile(test_leave=SKIPS, test_expects=EXPECTS)
    assert run(ruled).ret == pytest.ExitCode.OK
