"""Fetchers, with files on this machine and fake clients: no network."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deltaseal.errors import UsageError
from deltaseal.lab.bench.corpus import PUBLIC, load_pairs
from deltaseal.lab.bench.fetch import fetch

Sides = dict[str, bytes]


def packages(folder: Path, contents: Sides) -> dict[str, Path]:
    """A zip, a tarball with a link, and the bare file, of each side."""
    for side, content in contents.items():
        (folder / f"{side}.bin").write_bytes(content)
        with zipfile.ZipFile(folder / f"{side}.whl", "w") as zipped:
            zipped.writestr("pkg/lib.so", content)
        with tarfile.open(folder / f"{side}.tar.gz", "w:gz") as tar:
            info = tarfile.TarInfo("./usr/lib/lib.so.1.2")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            link = tarfile.TarInfo("./usr/lib/lib.so")
            link.type, link.linkname = tarfile.SYMTYPE, "lib.so.1.2"
            tar.addfile(link)
    return {path.name: path for path in folder.iterdir()}


def listed(tmp_path: Path, suffix: str, member: str, contents: Sides, **more: str) -> Path:
    lines = ['[[pair]]\nname = "one"\nsource = "url"']
    for side, content in contents.items():
        lines.append(f'{side} = "{(tmp_path / "web" / (side + suffix)).as_uri()}"')
        lines.append(
            f'{side}_sha256 = "{hashlib.sha256(content).hexdigest()}"\n{side}_bytes = {len(content)}'
        )
    lines += [
        f'member = "{member}"' if member else "",
        *(f'{name} = "{value}"' for name, value in more.items()),
    ]
    path = tmp_path / "list.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


CONTENTS = {"old": b"old " * 300, "new": b"new " * 300}


@pytest.fixture
def web(tmp_path: Path) -> Path:
    (tmp_path / "web").mkdir()
    packages(tmp_path / "web", CONTENTS)
    return tmp_path / "web"


@pytest.mark.parametrize(
    ("suffix", "member"), [(".bin", ""), (".whl", "pkg/lib.so"), (".tar.gz", "usr/lib/lib.so")]
)
def test_a_member_is_fetched_and_checked(tmp_path: Path, web: Path, suffix: str, member: str) -> None:
    pairs = load_pairs(listed(tmp_path, suffix, member, CONTENTS), tmp_path / "corpus")
    result = fetch(pairs, tmp_path / "corpus")
    assert (result.lines(), result.fetched) == ([], 1)
    assert {side: getattr(pairs[0], side).read_bytes() for side in CONTENTS} == CONTENTS
    for path in web.iterdir():
        path.unlink()
    assert fetch(pairs, tmp_path / "corpus").fetched == 0
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["one"]


def test_other_bytes_than_the_list_says_are_not_left(tmp_path: Path, web: Path) -> None:
    pairs = load_pairs(listed(tmp_path, ".bin", "", {**CONTENTS, "new": b"other"}), tmp_path / "corpus")
    result = fetch(pairs, tmp_path / "corpus")
    assert list(result.wrong) == ["one"] and "the list has" in result.lines()[0]
    assert not pairs[0].new.exists()


def test_a_list_without_digests_says_how_to_get_them(tmp_path: Path, web: Path) -> None:
    path = listed(tmp_path, ".bin", "", CONTENTS)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "sha256" not in line and "bytes" not in line))
    result = fetch(load_pairs(path, tmp_path / "corpus"), tmp_path / "corpus")
    assert "fetch --hashes" in result.wrong["one"]


def test_what_is_not_to_be_had_is_said(tmp_path: Path, web: Path) -> None:
    pairs = load_pairs(listed(tmp_path, ".whl", "pkg/none.so", CONTENTS), tmp_path / "corpus")
    assert "pkg/none.so" in fetch(pairs, tmp_path / "corpus").missing["one"]
    (web / "old.bin").unlink()
    pairs = load_pairs(listed(tmp_path, ".bin", "", CONTENTS), tmp_path / "corpus")
    assert "No such file" in fetch(pairs, tmp_path / "corpus").missing["one"]


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, web: Path, name: str) -> None:
    for side in CONTENTS:
        with zipfile.ZipFile(web / f"{side}.whl", "w") as zipped:
            zipped.writestr(name, b"x")
    pairs = load_pairs(listed(tmp_path, ".whl", ".", CONTENTS, kind="tree"), tmp_path / "corpus")
    assert "unsafe name" in fetch(pairs, tmp_path / "corpus", check=False).missing["one"]
    assert not (tmp_path / "out").exists() and not (tmp_path / "corpus" / "out").exists()


def test_the_clients_are_asked_for_what_the_list_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "npm"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\necho "$*" >>"$LOG"\necho "npm error code ETARGET No matching version"; exit 1\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    (tmp_path / "list.toml").write_text(
        '[[pair]]\nname = "n"\nsource = "npm"\npackage = "@a/b"\nold = "1.0"\nnew = "1.1"\nmember = "x"\n'
    )
    result = fetch(load_pairs(tmp_path / "list.toml", tmp_path / "corpus"), tmp_path / "corpus")
    assert "No matching version" in result.missing["n"]
    assert [line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()] == [
        "@a/b@1.0",
        "@a/b@1.1",
    ]


def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """A program of this name, first on the path."""
    fake = tmp_path / "bin" / name
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")


def missing(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch, **more: str) -> str:
    """What is said of a package that a client could not bring; the corpus is named as one types it."""
    fields = {"name": "n", "source": source, "package": "p", "old": "1", "new": "1", "member": "x", **more}
    (tmp_path / "list.toml").write_text(
        "[[pair]]\n" + "".join(f'{name} = "{value}"\n' for name, value in fields.items())
    )
    monkeypatch.chdir(tmp_path)
    return fetch(load_pairs(Path("list.toml"), Path("corpus")), Path("corpus")).missing["n"]


def test_npm_that_reaches_nobody_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "npm error code E1\\nnpm error FetchError: reason: refused\\nnpm error A complete log of this run"
    client(tmp_path, monkeypatch, "npm", f'test -d "$5" || exit 9; printf "{words}\\n"; exit 1')
    assert missing(tmp_path, "npm", monkeypatch) == "npm p 1: npm error FetchError: reason: refused"


# What apt says: that lists are not to be had at the update, later only that it knows no such version.
APT = """
case $1 in
indextargets) echo "http://mirror/debian|bookworm";;
update) grep -q 'Error-Mode "any"' "$APT_CONFIG" || exit 0
  printf 'E: Failed to fetch http://mirror/x  refused\\nE: Some index files failed\\n'; exit 100;;
*) test -f "$APT_CONFIG" && echo "E: Version '1' for 'p' was not found"; exit 100;;
esac
"""


def test_apt_without_lists_does_not_say_that_debian_moved_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(tmp_path, monkeypatch, "apt-get", APT)
    client(tmp_path, monkeypatch, "apt-config", "exit 0")
    words = missing(tmp_path, "apt", monkeypatch, suites="bookworm", arch="amd64")
    assert words == (
        "p:amd64 1 is not in the package lists that could be had "
        "(apt-get update: E: Failed to fetch (mirror)/x  refused)"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('source = "url"', 'source = "ftp"'), "known: apt, npm, pip, url"),
        (('name = "one"', 'name = "../one"'), "a name is letters"),
        (("old_bytes = 1200", "old_bytes = -1"), "a number of bytes"),
        (("old_bytes", "old_byte"), "unknown old_byte"),
        (('old_sha256 = "', 'old_sha256 = "g'), "64 hexadecimal digits"),
    ],
)
def test_a_wrong_list_is_named(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    path = listed(tmp_path, ".bin", "", CONTENTS)
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UsageError) as refused:
        load_pairs(path, tmp_path)
    assert words in f"{refused.value.sentence} {refused.value.hint}"


def test_every_public_pair_says_its_licence() -> None:
    assert all(pair.origin and pair.origin.licence for pair in load_pairs(PUBLIC, Path()))


def test_a_stranger_fetches_without_a_build(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-S", "benchmarks/corpus/fetch", "--list", "security"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 25 and "Apache-2.0" in done.stdout
