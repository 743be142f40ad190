"""The listing: its text, its digest, and what reading gives back."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import entries

from deltaseal.errors import TreeError
from deltaseal.trees import Entry, Listing, show

EXAMPLE = (
    b"deltaseal-tree/0 4\n"
    b"d\tdoc\n"
    b"d\tlib\n"
    b"f\tlib/a\t2\t8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4\n"
    b"l\tlib/b\ta\n"
)

NAMES = st.binary(min_size=1, max_size=8).filter(
    lambda name: (
        name not in (b".", b"..")
        and not any(byte < 32 or byte in (127, 47) for byte in name)
        and b"\xc2" not in name
    )
)


@st.composite
def listings(draw: st.DrawFn) -> Listing:
    found = {b"": Entry.directory(b"")}
    for name in draw(st.lists(NAMES, max_size=12)):
        above = draw(st.sampled_from([path for path, entry in found.items() if entry.kind == "directory"]))
        path = above + b"/" + name if above else name
        digest = draw(st.binary(min_size=32, max_size=32))
        made = draw(
            st.sampled_from(
                [
                    Entry.directory(path),
                    Entry.file(path, size=len(name), sha256=digest, executable=draw(st.booleans())),
                    Entry.link(path, b"./" + name),
                ]
            )
        )
        found.setdefault(path, made)
    del found[b""]
    return Listing.checked(entries(*found.values()))


@given(listings())
def test_what_is_written_is_read_back(listing: Listing) -> None:
    written = listing.dumps()
    assert Listing.loads(written) == listing
    assert listing.digest == hashlib.sha256(written).digest()


@given(listings(), st.data())
def test_one_changed_byte_is_another_listing_or_none(listing: Listing, data: st.DataObject) -> None:
    written = bytearray(listing.dumps())
    written[data.draw(st.integers(0, len(written) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = Listing.loads(bytes(written))
    except TreeError:
        return
    assert other != listing
    assert other.dumps() == bytes(written)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert Listing.loads(data).dumps() == data
    except TreeError as error:
        assert error.exit_code == 17


def test_the_example_of_the_specification() -> None:
    listing = Listing.loads(EXAMPLE)
    assert [entry.kind for entry in listing.entries] == ["directory", "directory", "file", "link"]
    assert listing.digest.hex() == "03c719f4f727167058b3d36180963694a82b157a68ea55b320a5cbf8da7dcaf3"


def test_entries_are_in_the_order_of_their_bytes() -> None:
    paths = [b"a", b"a-b", b"a/c", b"a0", b"\xff"]
    listing = Listing.checked([Entry.directory(path) for path in paths])
    assert Listing.loads(listing.dumps()) == listing
    with pytest.raises(TreeError, match="order"):
        Listing.checked([Entry.directory(path) for path in [b"a", b"a/c", b"a-b"]])


def test_all_faults_are_named_at_once() -> None:
    wrong = entries(Entry.link(b"b", b"/x"), Entry.directory(b"c/d"), Entry.directory(b".."))
    with pytest.raises(TreeError) as caught:
        Listing.checked(wrong)
    assert {item["path"] for item in caught.value.facts["refused"]} == {"b", "c/d", ".."}


def test_the_executable_bit_is_the_only_mode() -> None:
    file = Entry.file(b"a", size=0, sha256=bytes(32))
    program = Entry.file(b"a", size=0, sha256=bytes(32), executable=True)
    assert (file.mode, program.mode, Entry.directory(b"a").mode) == (0o644, 0o755, 0o755)
    assert Listing.checked([file]).digest != Listing.checked([program]).digest


def test_paths_are_shown_without_anything_that_moves_the_cursor() -> None:
    assert show("plain/ünï".encode()) == "plain/ünï"
    assert show(b"\x1b[2J\xff\x80") == r"\x1b[2J\xff\x80"
    assert show("a\u202eb".encode()) == r"a\u202eb"
