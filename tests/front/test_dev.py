"""The front door and the continuous integration's entry say what they do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "dev", *arguments], capture_output=True, text=True, check=False)


def test_alone_it_lists_its_verbs() -> None:
    shown = dev()
    verbs = re.findall(r"^  (\w+) ", shown.stdout, re.MULTILINE)
    accepted = re.findall(r"^verb_(\w+)\(\)", (ROOT / "dev").read_text(), re.MULTILINE)
    assert shown.returncode == 0 and not shown.stderr
    assert sorted(verbs) == sorted(accepted)


def test_an_unknown_verb_is_refused() -> None:
    refused = dev("deploy")
    assert refused.returncode == 1
    assert refused.stderr.endswith("dev: no such verb: deploy\n") and not refused.stdout


def test_it_works_from_any_directory(tmp_path: Path) -> None:
    shown = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert shown.stdout == dev().stdout


@pytest.mark.parametrize("script", ["dev", ".ci/run"])
def test_scripts_are_plain_shell(script: str) -> None:
    path = ROOT / script
    assert path.read_text().startswith("#!/bin/sh\n") and path.stat().st_mode & 0o100
    subprocess.run(["sh", "-n", path], check=True)
