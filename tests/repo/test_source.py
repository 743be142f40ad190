"""Sources of offers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.plain_bundle import plain_bundle
from support.publisher import CATALOGUE, PERMIT

from deltaseal.bundle import open_bundle
from deltaseal.errors import StorageError
from deltaseal.manifest import Catalogue, DeviceManifest
from deltaseal.repo import DirectorySource, Source
from deltaseal.trust import MAX_DOCUMENT, UnverifiedDocument

BUNDLE = plain_bundle([b"payload"], sign=False)


def document(value: Catalogue | DeviceManifest) -> bytes:
    return UnverifiedDocument(value.TYPE, value.dumps()).to_bytes()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "one").write_bytes(BUNDLE.to_bytes())
    (tmp_path / "two").write_bytes(document(CATALOGUE))
    (tmp_path / "three").write_bytes(document(PERMIT))
    return tmp_path


def test_files_are_told_apart_by_how_they_begin(directory: Path) -> None:
    source: Source = DirectorySource(directory)
    catalogue = source.catalogue("macos")
    assert catalogue is not None and Catalogue.loads(catalogue.body) == CATALOGUE
    assert [DeviceManifest.loads(one.body) for one in source.manifests("macos")] == [PERMIT]
    bundle = source.bundle(BUNDLE.digest)
    assert bundle is not None and open_bundle(bundle).digest == BUNDLE.digest
    assert source.name == str(directory)


def test_what_is_not_there_is_not_found(directory: Path) -> None:
    source = DirectorySource(directory)
    assert source.catalogue("ios") is None
    assert list(source.manifests("ios")) == []
    assert source.bundle("0" * 64) is None


def test_the_newest_catalogue_is_tried(directory: Path) -> None:
    (directory / "a").write_bytes(document(replace(CATALOGUE, serial=9)))
    (directory / "z").write_bytes(document(replace(CATALOGUE, serial=8)))
    found = DirectorySource(directory).catalogue("macos")
    assert found is not None and Catalogue.loads(found.body).serial == 9


def test_device_manifests_come_in_the_order_of_names(directory: Path) -> None:
    for phase, name in ((2, "b"), (1, "a"), (3, "c")):
        (directory / name).write_bytes(document(replace(PERMIT, phase=phase)))
    phases = [DeviceManifest.loads(one.body).phase for one in DirectorySource(directory).manifests("macos")]
    assert phases == [1, 2, 3, PERMIT.phase]


def test_files_of_other_kinds_are_ignored(directory: Path) -> None:
    (directory / "README").write_text("hello")
    (directory / "empty").write_bytes(b"")
    (directory / "folder").mkdir()
    (directory / "dangling").symlink_to("nowhere")
    os.mkfifo(directory / "pipe")
    source = DirectorySource(directory)
    assert source.bundle(BUNDLE.digest) is not None
    assert {fault.name for fault in source.faults} <= {"dangling"}


def test_T38_an_edited_bundle_is_not_found_under_its_old_digest(directory: Path) -> None:
    data = (directory / "one").read_bytes()
    (directory / "one").write_bytes(data.replace(b"25D771280a", b"25D771280b"))
    source = DirectorySource(directory)
    assert source.bundle(BUNDLE.digest) is None
    assert source.faults == ()


def test_broken_files_are_listed_and_do_not_hide_others(directory: Path) -> None:
    (directory / "cut").write_bytes(BUNDLE.to_bytes()[:-1])
    (directory / "cut-document").write_bytes(document(PERMIT)[:-1])
    (directory / "huge").write_bytes(document(PERMIT) + bytes(MAX_DOCUMENT))
    (directory / "no-json").write_bytes(UnverifiedDocument(Catalogue.TYPE, b"{").to_bytes())
    source = DirectorySource(directory)
    assert [(fault.name, fault.error.reason) for fault in source.faults] == [
        ("cut", "E_DIGEST"),
        ("cut-document", "E_SIG"),
        ("huge", "E_LIMIT"),
    ]
    assert source.catalogue("macos") is not None


def test_a_claim_of_a_strange_kind_is_no_claim(directory: Path) -> None:
    (directory / "odd").write_bytes(
        UnverifiedDocument(Catalogue.TYPE, b'{"os":"macos","serial":"99"}').to_bytes()
    )
    found = DirectorySource(directory).catalogue("macos")
    assert found is not None and Catalogue.loads(found.body) == CATALOGUE


def test_a_source_is_a_directory(directory: Path) -> None:
    for path in (directory / "one", directory / "missing"):
        with pytest.raises(StorageError):
            DirectorySource(path)
