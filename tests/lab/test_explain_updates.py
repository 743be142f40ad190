"""Three real security updates: what their patches touched is among the functions that explain lists.

docs/explain-updates.md tells the same for people. Functions without a symbol are known by what they refer
to: a text of the fix, and the exported function that calls them or takes their address.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import deltaseal
from deltaseal.lab.explain import explain
from deltaseal.lab.explain.parts import Function, ImageParts, parts_of

CORPUS = Path(os.environ.get("DELTASEAL_CORPUS") or "~/.cache/deltaseal/corpus").expanduser()


@dataclass(frozen=True)
class Static:
    """A function without a symbol: its name in the source, a text in it, an exported one that knows it."""

    name: str
    text: str
    exported: str


EXPORTED = {
    "libxml2": (
        *("xmlShell", "xmlRelaxNGParse", "xmlXPathCtxtCompile", "xmlXPathEvalExpr", "xmlSchematronParse"),
        *("xmlTextWriterStartAttributeNS", "xmlTextWriterStartElementNS", "xmlRelaxParserSetIncLImit"),
        *("xmlLoadACatalog", "xmlLoadCatalog", "xmlLoadSGMLSuperCatalog"),
    ),
    "glib": (
        *("g_date_time_new_from_iso8601", "g_base64_encode", "g_filename_to_uri", "g_string_insert_len"),
        *("g_string_overwrite_len", "g_utf8_strup", "g_utf8_strdown"),
    ),
    "libarchive": (),
}
STATIC = {
    "libxml2": (
        Static("xmlCatalogListXMLResolveURI", "Detected recursion in catalog %s\n", "xmlCatalogResolveURI"),
        Static("xmlXPathRunEval", "xmlXPathRunEval: last is less than zero\n", "xmlXPathCompiledEval"),
        Static("xmlParseSGMLCatalog", "DELEGATE", "xmlLoadSGMLSuperCatalog"),
    ),
    "glib": (
        Static("real_toupper", "append_utf8_char_to_buffer", "g_utf8_strup"),
        Static("real_tolower", "append_utf8_char_to_buffer", "g_utf8_strdown"),
        Static("get_tmp_file", "get_tmp_file", "g_mkstemp_full"),
        Static("parse", "positional_parse", "g_variant_parse"),
    ),
    "libarchive": (
        Static(
            "archive_write_zip_header",
            "File size too large for encrypted ZIP entry",
            "archive_write_set_format_zip",
        ),
        Static(
            "init_unpack, inside rar5_read_data",
            "Unsupported filter type: 0x%x",
            "archive_read_support_format_rar5",
        ),
    ),
}


class Image:
    """A library of x86-64, asked who refers to what by displacements from the instruction pointer."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.parts: ImageParts = parts_of(self.data)
        with path.open("rb") as file:
            sections = [s.header for s in ELFFile(file).iter_sections() if s["sh_addr"]]
        self._sections = [(s.sh_offset, s.sh_size, s.sh_addr) for s in sections if s.sh_type != "SHT_NOBITS"]

    def address(self, offset: int) -> int:
        return next(at - o + offset for o, size, at in self._sections if o <= offset < o + size)

    def refers(self, function: Function, target: int) -> bool:
        at = function.address
        code = self.data[function.offset : function.end]
        return any(at + k + 4 + struct.unpack_from("<i", code, k)[0] == target for k in range(len(code) - 3))

    def text(self, words: str) -> int:
        return self.address(self.data.index(b"\0" + words.encode() + b"\0") + 1)


@pytest.mark.corpus
@pytest.mark.parametrize("effort", ["default", "best"])
@pytest.mark.parametrize("pair", list(EXPORTED))
def test_the_functions_of_the_fixes_are_listed(tmp_path: Path, pair: str, effort: str) -> None:
    old, new = CORPUS / pair / "old", CORPUS / pair / "new"
    if not new.exists():
        pytest.skip(f"run benchmarks/corpus/fetch {pair}")
    deltaseal.diff(old, new, tmp_path / "d", effort=effort)
    found = explain(tmp_path / "d", old=old, new=new)
    changed = {f.address: f for f in found.functions if f.change != "moved"}
    names = {f.name for f in changed.values()}
    assert set(EXPORTED[pair]) <= names
    image = Image(new)
    for static in STATIC[pair]:
        text = image.text(static.text)
        caller = next(f for f in image.parts.functions if f.name == static.exported)
        known = [
            f
            for f in image.parts.functions
            if f.address in changed
            and not f.name
            and image.refers(f, text)
            and image.refers(caller, f.address)
        ]
        assert len(known) == 1, static


@pytest.mark.corpus
def test_libarchive_s_three_fixes_are_the_three_functions(tmp_path: Path) -> None:
    old = CORPUS / "libarchive" / "old"
    if not old.exists():
        pytest.skip("run benchmarks/corpus/fetch libarchive")
    deltaseal.diff(old, CORPUS / "libarchive" / "new", tmp_path / "d")
    found = explain(tmp_path / "d", old=old)
    assert [f.change for f in found.functions] == ["changed"] * 3
