"""Many devices in one folder, for trying a fleet out: made in one go, and let look in one go.

    python examples/many_devices.py create 60 --base BASE --from DIR --trust TRUST --model MODEL
    python examples/many_devices.py look --source DIR --report-to DIR

They lie in `devices/`, their enrolments in `enrolments/`. `--hook FILE` gives three of four devices a program
that checks their health; the fourth has none, and takes what comes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

from deltaseal.device import create, look, open_device, report_look
from deltaseal.edge import Edge, system_edge
from deltaseal.repo import DirectorySource
from deltaseal.trust import Trust, UnverifiedDocument

DEVICES, ENROLMENTS = Path("devices"), Path("enrolments")


def edge(seed: str, number: int) -> Edge:
    """This machine's edge. With a seed the ids of devices are the same in every run; their keys never are."""

    def random(size: int) -> bytes:
        if size == 16 and seed:
            return hashlib.sha256(f"{seed} {number}".encode()).digest()[:16]
        return os.urandom(size)

    return replace(system_edge(), random=random, battery=lambda: None, processes=lambda: ())


def make(asked: argparse.Namespace) -> None:
    """Create the devices."""
    DEVICES.mkdir()
    ENROLMENTS.mkdir()
    base = UnverifiedDocument.loads(asked.base.read_bytes())
    trust = Trust.load(asked.trust.read_bytes())
    for number in range(asked.count):
        path = DEVICES / f"d{number:04}"
        device = create(
            path, base=base, trees=asked.trees, trust=trust, model=asked.model, edge=edge(asked.seed, number)
        )
        (ENROLMENTS / f"d{number:04}.enrolment").write_bytes(device.enrolment())
        if asked.hook and number % 4:
            shutil.copy(asked.hook, path / "health.d")
    print(f"{asked.count} devices in {DEVICES}")


def let_look(asked: argparse.Namespace) -> None:
    """Let every device look once, and report."""
    source = DirectorySource(asked.source)
    outcomes: Counter[str] = Counter()
    for path in sorted(DEVICES.iterdir()):
        here = edge("", 0)
        found = look(open_device(path, edge=here), lambda: [source], here)
        outcomes[found.outcome] += 1
        if failed := report_look(path, found, [str(asked.report_to)], here):
            print(f"{path}: {failed}")
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))


def main() -> None:
    """Read what is asked, and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(required=True)
    create_verb = verbs.add_parser("create")
    create_verb.add_argument("count", type=int)
    create_verb.add_argument("--base", type=Path, required=True)
    create_verb.add_argument("--from", dest="trees", type=Path, required=True)
    create_verb.add_argument("--trust", type=Path, required=True)
    create_verb.add_argument("--model", required=True)
    create_verb.add_argument("--hook", type=Path)
    create_verb.add_argument("--seed", default="")
    create_verb.set_defaults(act=make)
    look_verb = verbs.add_parser("look")
    look_verb.add_argument("--source", type=Path, required=True)
    look_verb.add_argument("--report-to", type=Path, required=True)
    look_verb.set_defaults(act=let_look)
    asked = parser.parse_args()
    asked.act(asked)


if __name__ == "__main__":
    main()
