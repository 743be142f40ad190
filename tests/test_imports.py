"""What importing and starting may load: nothing before it is used."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import deltaseal
from deltaseal.verbs import kinds

HEAVY = ("cryptography", "cffi", "zstandard", "rich", "rich_click", "tuf", "email", "urllib.request", "http")

# What `import deltaseal` may load of the package itself.
AT_IMPORT = {"deltaseal", "deltaseal._lazy", "deltaseal._version"}


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Every module that a new process has loaded after ``code``."""
    script = f"import sys, json\n{code}\njson.dump(sorted(sys.modules), sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def heavy(modules: set[str]) -> set[str]:
    return {name for name in HEAVY if name in modules}


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = loaded_by("import deltaseal")
    assert {name for name in loaded if name.partition(".")[0] == "deltaseal"} == AT_IMPORT
    assert not heavy(loaded)
    assert "click" not in loaded


RUN = "from deltaseal.cli.entry import run\nassert run(sys.argv[1:]) == 0"


def test_the_version_needs_no_room() -> None:
    loaded = loaded_by(RUN, "--version")
    assert not heavy(loaded)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("deltaseal.")}
    assert rooms == {"_lazy", "_version", "cli", "errors"}


def test_plain_help_needs_no_room() -> None:
    assert not heavy(loaded_by(RUN, "--help"))


# What an image's delta does without: each takes a good part of the time that a small image takes in all.
NOT_FOR_AN_IMAGE = {
    "array",
    "hashlib",
    "pathlib",
    "urllib.parse",
    "deltaseal._core.explaining",
    "deltaseal.storage.recipes",
    "deltaseal.storage.simulated",
    "deltaseal.trees",
}
ROOMS_OF_AN_IMAGE = {"_core", "_lazy", "_version", "cli", "errors", "images", "storage", "verbs"}


def loaded_for_an_image(*arguments: str | Path) -> set[str]:
    """What a command on images loads; what is held of both commands holds."""
    loaded = loaded_by(RUN, *map(str, arguments))
    assert not NOT_FOR_AN_IMAGE & loaded
    assert {name.split(".")[1] for name in loaded if name.startswith("deltaseal.")} == ROOMS_OF_AN_IMAGE
    assert not heavy(loaded) - {"zstandard"}
    return loaded


def test_an_image_s_delta_needs_no_trees_no_keys_and_no_dress(tmp_path: Path) -> None:
    old, new, delta = (tmp_path / name for name in ("old", "new", "delta"))
    old.write_bytes(b"old" * 1000)
    new.write_bytes(b"new" * 1000)
    making = loaded_for_an_image("diff", old, new, "-o", delta)
    assert not {"subprocess", "deltaseal.images.applier"} & making
    applying = loaded_for_an_image("apply", old, delta, "-o", tmp_path / "out")
    assert not {"zstandard", "mmap", "deltaseal._core.creating", "deltaseal.images.creator"} & applying


def test_a_device_without_a_repository_loads_no_tuf() -> None:
    loaded = loaded_by("import deltaseal.device, deltaseal.repo; deltaseal.repo.DirectorySource")
    assert not {"tuf", "securesystemslib", "urllib3"} & loaded
    assert "deltaseal.repo.client" not in loaded


@pytest.mark.parametrize("name", deltaseal.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(deltaseal, name) is not None
    assert name in dir(deltaseal)


def test_what_is_not_exported_is_not_there() -> None:
    assert not hasattr(deltaseal, "no_such_verb")


def test_the_exported_names_are_the_lazy_ones() -> None:
    assert set(deltaseal.__all__) == {*deltaseal._HOMES, "__version__"}


def test_the_version_is_the_package_s() -> None:
    assert deltaseal.__version__ == metadata.version("deltaseal")


def test_the_kinds_know_the_magic_numbers_of_the_rooms() -> None:
    from deltaseal import bundle, images, trees
    from deltaseal.trust import documents

    by_kind = {kind: magic for magic, kind in kinds.MAGICS.items()}
    assert by_kind["tree delta"] == trees.MAGIC
    assert by_kind["bundle"] == bundle.MAGIC
    assert by_kind["signed document"] == documents.MAGIC
    assert images.is_image_delta(by_kind["image delta"])


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(deltaseal.__file__).parent / "py.typed").exists()
