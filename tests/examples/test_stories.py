"""The stories of the docs happen as they are told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_january_to_march() -> None:
    page = (ROOT / "docs/fleet/january-to-march.md").read_text()
    (told,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    script = ROOT / "examples/january_to_march.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == told


def test_a_bad_improvement(tmp_path: Path) -> None:
    page = (ROOT / "docs/fleet/bad-improvement.md").read_text()
    for name in ("bad-improvement.toml", "many_devices.py"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    main = "from deltaseal.cli import main\nmain()\n"
    (programs / "deltaseal").write_text(f"#!{sys.executable}\n{main}")
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        ["sh", "-eu", "-c", "exec 2>&1\n" + "".join(text for kind, text in blocks if kind == "sh")],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    told = [line for kind, text in blocks if kind == "text" for line in text.splitlines()]
    happened = iter(done.stdout.splitlines())
    missing = [line for line in told if line not in happened]  # each after the one before
    assert not missing, done.stdout
