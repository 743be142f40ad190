from __future__ import annotations

from typing import Any

import pytest

from deltaseal.trust import ALGORITHMS, PrivateKey, Role, Trust, UnverifiedDocument, sign, strict_json

from .conftest import cpu_seconds

pytestmark = pytest.mark.benchmark(timer=cpu_seconds)

TYPE = "deltaseal/bundle-manifest"
NOW = 1_800_000_000


@pytest.fixture(scope="module")
def keys() -> list[PrivateKey]:
    return [PrivateKey.generate(algorithm) for algorithm in ALGORITHMS for _ in range(3)]


def test_verify_two_of_three_of_each(benchmark: Any, keys: list[PrivateKey]) -> None:
    role = Role("release:macos", tuple(key.public for key in keys), dict.fromkeys(ALGORITHMS, 2))
    trust = Trust.of(role, expires=NOW + 1)
    signers = [*keys[:2], *keys[3:5]]
    data = sign(TYPE, b"x" * 4096, signers).to_bytes()

    def check() -> int:
        document = UnverifiedDocument.loads(data)
        return len(trust.verify(document, role=role.name, type=TYPE, now=NOW).signed_by)

    assert benchmark(check) == 4


def test_strict_json(benchmark: Any) -> None:
    value = {f"component{i}": {"files": [f"lib/file{n}" for n in range(100)], "size": i} for i in range(100)}
    data = strict_json.dumps(value)
    assert benchmark(strict_json.loads, data) == value
    benchmark.extra_info.update(bytes=len(data))
