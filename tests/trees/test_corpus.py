"""The real pair of trees: two versions of a wheel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.trees import apply, scan

from deltaseal.storage import BytesSource
from deltaseal.trees import diff, inspect


@pytest.mark.corpus
def test_two_versions_of_a_wheel(tmp_path: Path) -> None:
    corpus = Path(os.environ.get("DELTASEAL_CORPUS", Path.home() / ".cache/deltaseal/corpus"))
    old, new = corpus / "lxml-wheel/old", corpus / "lxml-wheel/new"
    delta = diff(old, new)
    assert apply(old, delta, tmp_path / "dest") == scan(new)
    info = inspect(BytesSource(delta))
    texts = [change for change in info.changes if change.source == "built" and not change.executable]
    assert len({change.group for change in texts}) == 1
    assert info.plan_bytes < 500
    assert len(delta) < sum(file.stat().st_size for file in new.rglob("*") if file.is_file()) // 100
