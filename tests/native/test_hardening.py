"""What the compiler and the linker were told about hardening shows in what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from deltaseal import _core
from deltaseal._core import _native

EXTENSION = Path(_native.__file__)
PROGRAMS = [_core.applier_path(), Path(_core.applier_path()).with_name("deltaseal-rescue")]
BIND_NOW, NOW = 0x8, 0x1  # DF_BIND_NOW of DT_FLAGS, DF_1_NOW of DT_FLAGS_1
EXECUTE = 0x1


def segments(path: Path) -> dict[str, int]:
    """Kind of each program header, with its flags."""
    with path.open("rb") as file:
        return {each.header.p_type: each.header.p_flags for each in ELFFile(file).iter_segments()}


@pytest.mark.parametrize("path", [EXTENSION, *PROGRAMS], ids=lambda path: Path(path).name)
def test_relocated_data_is_read_only_and_no_stack_is_code(path: Path) -> None:
    found = segments(Path(path))
    assert "PT_GNU_RELRO" in found
    assert not found["PT_GNU_STACK"] & EXECUTE


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: Path(path).name)
def test_the_programs_have_no_loader_that_could_be_broken(path: Path) -> None:
    assert not {"PT_INTERP", "PT_DYNAMIC"} & set(segments(Path(path)))


def test_the_extension_is_bound_at_its_start() -> None:
    with EXTENSION.open("rb") as file:
        dynamic = ELFFile(file).get_section_by_name(".dynamic")
        tags = {tag.entry.d_tag: tag.entry.d_val for tag in dynamic.iter_tags()}
    assert tags.get("DT_FLAGS", 0) & BIND_NOW or tags.get("DT_FLAGS_1", 0) & NOW


def test_the_extension_has_stack_protectors_and_checked_functions() -> None:
    with EXTENSION.open("rb") as file:
        symbols = {each.name for each in ELFFile(file).get_section_by_name(".dynsym").iter_symbols()}
    assert "__stack_chk_fail" in symbols
    assert any(name.endswith("_chk") for name in symbols)
