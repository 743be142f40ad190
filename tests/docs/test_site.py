"""The generated pages of the site speak of everything, and its pictures are whole.

`./dev check` builds the site itself.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

import deltaseal
from deltaseal.cli.root import root
from deltaseal.errors import EXIT_CODES

ROOT = Path(__file__).parents[2]


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return load("docs/_site/reference.py").pages()


def test_every_command_is_in_the_reference(pages: dict[str, str]) -> None:
    text = pages["reference/commands.md"]
    for name in root._lazy:
        assert f"\n## deltaseal {name}\n" in text
    assert "\n### deltaseal matrix build\n" in text
    assert text.count("--verbose") == text.count("Usage: deltaseal")


def test_every_exit_code_and_reason_is_in_the_reference(pages: dict[str, str]) -> None:
    for row in EXIT_CODES:
        assert f"| {row.code} | {row.meaning}" in pages["reference/exit-codes.md"]


def test_every_exported_name_is_in_the_reference(pages: dict[str, str]) -> None:
    for name in set(deltaseal.__all__) - {"__version__"}:
        assert f"heading: deltaseal.{name}\n" in pages["reference/python.md"]


def test_the_chart_shows_the_table() -> None:
    chart = load("benchmarks/chart.py")
    picture = ET.fromstring(chart.sizes())
    words = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert set(chart.SHOWN) <= set(words)
    row = chart._table("sizes.csv")["libcrypto"]
    assert f"{int(row['delta_bytes']):,}" in words


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "pictures").glob("*.svg")), ids=lambda path: path.name
)
def test_pictures_are_whole(path: Path) -> None:
    assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
