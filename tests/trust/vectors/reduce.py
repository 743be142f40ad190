"""Reduce Wycheproof's verification vectors to what the tests read.

    python tests/trust/vectors/reduce.py FOLDER

FOLDER holds ``wycheproof_ed25519_test.json`` and ``wycheproof_mldsa_65_verify_test.json``,
from C2SP/wycheproof, ``testvectors_v1/`` (Apache-2.0).  All vectors are kept; of each only key,
message, context, signature, result and number.  Same input, same bytes of ``wycheproof.json.gz``.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

FILES = {
    "ed25519": "wycheproof_ed25519_test.json",
    "ml-dsa-65": "wycheproof_mldsa_65_verify_test.json",
}


def public_key(group: dict) -> str:
    """The raw key of a group, hexadecimal: a string of its own, or inside an object."""
    key = group["publicKey"]
    return key if isinstance(key, str) else key["pk"]


def reduced(path: Path) -> list[dict]:
    return [
        {
            "public": public_key(group),
            "tests": [
                {name: test[name] for name in ("tcId", "msg", "ctx", "sig", "result") if name in test}
                for test in group["tests"]
            ],
        }
        for group in json.loads(path.read_text())["testGroups"]
    ]


def main(folder: Path) -> None:
    vectors = {algorithm: reduced(folder / name) for algorithm, name in FILES.items()}
    text = json.dumps(vectors, separators=(",", ":"), sort_keys=True).encode()
    target = Path(__file__).with_name("wycheproof.json.gz")
    target.write_bytes(gzip.compress(text, 9, mtime=0))
    print(f"{target.name}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
