"""One built-in scenario for all tests of the harness."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deltaseal.lab.torture.bench import Bench
from deltaseal.lab.torture.run import stock_for
from deltaseal.lab.torture.stock import Stock


@pytest.fixture(scope="session")
def stock() -> Iterator[Stock]:
    """The built-in scenario."""
    with stock_for(None) as made:
        yield made


@pytest.fixture
def bench(stock: Stock) -> Bench:
    """A bench that has prepared nothing yet."""
    return Bench(stock)
