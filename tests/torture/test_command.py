"""``deltaseal torture`` and the pytest plugin, as people call them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.command import deltaseal as call
from support.command import must

from deltaseal.lab.torture import run as harness
from deltaseal.lab.torture.images import COMPONENTS, write_trees
from deltaseal.lab.torture.result import Part
from deltaseal.lab.torture.stock import Stock, harness_keys
from deltaseal.manifest import Base, release_role
from deltaseal.trust import sign

NAIVE = Path(__file__).parents[2] / "examples" / "naive-applier"


@pytest.fixture
def published(stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A bundle in files, as its publisher has it; returns the arguments that name them."""
    (tmp_path / "a.bundle").write_bytes(stock.bundles["a"].to_bytes())
    (tmp_path / "macos.base").write_bytes(stock.base_document.to_bytes())
    (tmp_path / "trust.json").write_bytes(stock.trust.dumps())
    (tmp_path / "trees").mkdir()
    for name in COMPONENTS:
        write_trees(tmp_path, name, 0).rename(tmp_path / "trees" / name)
    monkeypatch.chdir(tmp_path)
    return ["--bundle", "a.bundle", "--base", "macos.base", "--from", "trees", "--trust", "trust.json"]


def test_a_bundle_of_ones_own_is_put_to_the_test(published: list[str]) -> None:
    done = must("torture", *published, "--only", "swap", "--jobs", "1", "--junit", "result.xml", "--json")
    values = json.loads(done.out)
    assert (values["subject"], values["good"]) == ("a.bundle", True)
    assert values["total"]["cuts"] > 200
    suite = ElementTree.parse("result.xml").find("testsuite")
    assert suite is not None and suite.get("failures") == "0"


def test_an_existing_report_is_kept(published: list[str]) -> None:
    Path("result.xml").write_text("mine")
    done = call("torture", "--only", "hostile", "--jobs", "1", "--junit", "result.xml")
    assert done.code == 2
    assert Path("result.xml").read_text() == "mine"


def test_a_bundle_with_a_bad_signature_is_refused(published: list[str]) -> None:
    data = bytearray(Path("a.bundle").read_bytes())
    data[60] ^= 1
    Path("a.bundle").write_bytes(data)
    assert call("torture", *published).code in (10, 15)


def test_a_bundle_of_another_base_is_wrong_usage(published: list[str], stock: Stock) -> None:
    base = replace(stock.base, build="25A1")
    signed = sign(Base.TYPE, base.dumps(), harness_keys(release_role(base.os)))
    Path("macos.base").write_bytes(signed.to_bytes())
    done = call("torture", *published)
    assert (done.code, "the base is macos build 25A1" in done.err) == (2, True)


def test_trees_that_are_not_the_base_are_wrong_usage(published: list[str]) -> None:
    (Path("trees") / COMPONENTS[0] / "more").write_text("more")
    done = call("torture", *published)
    assert (done.code, f"is not the component {COMPONENTS[0]} of the base" in done.err) == (2, True)


def test_half_of_a_bundle_of_ones_own_is_wrong_usage(published: list[str]) -> None:
    assert call("torture", *published[:4]).code == 2
    assert call("torture", "--applier", "true").code == 2
    assert call("torture", *published, "--model", "Watch9,9").code == 2


def test_several_processes_find_the_same(stock: Stock) -> None:
    one, two = (harness.torture(kinds=["hostile"], processes=count) for count in (1, 2))
    assert [part.ended for part in one.parts] == [part.ended for part in two.parts]


def test_findings_end_with_30(monkeypatch: pytest.MonkeyPatch) -> None:
    def sick(stock: Stock, **_: object) -> list[harness.Job]:
        part = Part("power", "made up", "")
        for change in range(3, 8):  # of those that say the same two are shown
            part.find("mixed", "the device shows neither", way=f"before change {change}")
        return [harness.Job("power", "made up", 1, lambda bench: [part])]

    monkeypatch.setattr(harness, "jobs_of", sick)
    done = call("torture", "--only", "power", "--jobs", "1")
    assert done.code == 30
    assert "5 FINDINGS\n" in done.out and "FOUND WANTING" in done.out
    assert "before change 3" in done.err and "before change 5" not in done.err
    assert "and 3 more of the same parts" in done.err and "CHECKS: 5 findings" in done.err
    asked = call("torture", "--only", "power", "--jobs", "1", "--json")
    values = json.loads(asked.out)
    assert (asked.code, values["good"], values["error"]["reason"]) == (30, False, "CHECKS")


def test_somebody_elses_applier_from_the_command_line(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    trees = ["--old", tmp_path / "before", "--new", tmp_path / "after", "--update", tmp_path / "after"]
    done = call("torture", "--applier", str(NAIVE / "applier.sh"), *map(str, trees))
    assert done.code == 30
    assert "mixed: cannot open the directory 'STORE/live'" in done.err


# ---- the plugin --------------------------------------------------------------------------------------------

USES_FIXTURES = """
def test_with_the_fixtures(deltaseal_stock, deltaseal_bench, deltaseal_torture):
    assert not deltaseal_stock.builtin
    assert deltaseal_bench.eye.label(deltaseal_bench.new()) == "baseline"
    report = deltaseal_torture("swap")
    assert report.good and {part.kind for part in report.parts} == {"swap"}
"""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plugin = "deltaseal.lab.torture.plugin"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    names = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=folder).stdout
    if "--deltaseal-bundle" not in names:  # installed before it had the entry point
        command += ["-p", plugin]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=folder)


def for_pytest(published: list[str]) -> list[str]:
    return [each.replace("--", "--deltaseal-") for each in published]


def test_the_plugin_adds_a_test_for_each_part(published: list[str], tmp_path: Path) -> None:
    listed = pytest_in(tmp_path, *for_pytest(published), "--collect-only").stdout
    assert "power: removal" in listed and "bent: journal" in listed
    done = pytest_in(tmp_path, *for_pytest(published), "-k", "payloads or fetch")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_plugin_has_fixtures_and_refuses_halves(published: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(USES_FIXTURES)
    done = pytest_in(tmp_path, *for_pytest(published), "-k", "fixtures")
    assert done.returncode == 0, done.stdout
    half = pytest_in(tmp_path, *for_pytest(published)[:2])
    assert half.returncode != 0 and "--deltaseal-base" in half.stdout + half.stderr
    (tmp_path / "trees" / COMPONENTS[0] / "more").write_text("more")
    wrong = pytest_in(tmp_path, *for_pytest(published))
    assert wrong.returncode == pytest.ExitCode.USAGE_ERROR
    assert "is not the component" in wrong.stderr and "Traceback" not in wrong.stderr


def test_without_options_the_plugin_adds_nothing(tmp_path: Path) -> None:
    assert pytest_in(tmp_path).returncode == pytest.ExitCode.NO_TESTS_COLLECTED
