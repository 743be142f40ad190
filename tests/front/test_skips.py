"""The rule of tests/conftest.py, on a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

RULE = Path(__file__).parents[1] / "conftest.py"
SKIPS = "import pytest\ndef test_good(): pass\ndef test_away(): pytest.skip('no such thing here')\n"
SKIPS_WHOLE = "import pytest\npytest.skip('not on this system', allow_module_level=True)\n"
EXPECTS = "import pytest\n@pytest.mark.xfail\ndef test_known(): assert 0\ndef test_good(): pass\n"


@pytest.mark.parametrize(
    ("ci", "tests", "code"),
    [
        ("true", SKIPS, pytest.ExitCode.TESTS_FAILED),
        ("false", SKIPS, pytest.ExitCode.OK),
        ("true", SKIPS_WHOLE, pytest.ExitCode.NO_TESTS_COLLECTED),
        ("true", "def test_good(): pass\n", pytest.ExitCode.OK),
        ("true", EXPECTS, pytest.ExitCode.OK),
    ],
)
def test_a_skip_fails_the_run_in_ci_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, tests: str, code: pytest.ExitCode
) -> None:
    monkeypatch.setenv("CI", ci)
    pytester.makeconftest(RULE.read_text())
    pytester.makepyfile(tests)
    assert pytester.runpytest_subprocess().ret == code


def test_the_skipped_test_and_why_are_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    pytester.makeconftest(RULE.read_text())
    pytester.makepyfile(test_one=SKIPS, test_two=SKIPS_WHOLE)
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines(
        ["test_one.py::test_away: *no such thing here", "test_two.py: *not on this system"]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_leave_is_given_by_name(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    leave = 'MAY_BE_SKIPPED: dict[str, str] = {"test_leave.py::test_away": "for this test"}'
    text = RULE.read_text()
    lines = [leave if line.startswith("MAY_BE_SKIPPED") else line for line in text.splitlines()]
    pytester.makeconftest("\n".join(lines))
    pytester.makepyfile(test_leave=SKIPS)
    assert pytester.runpytest_subprocess().ret == pytest.ExitCode.OK
