"""The binding: what goes in is checked, what goes wrong comes out, other threads go on meanwhile."""

from __future__ import annotations

import ast
import random
import re
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaseal import _core
from deltaseal._core import Status, _native

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "native/include/deltaseal.h").read_text()
CDEF = (ROOT / "src/deltaseal/_core/deltaseal.cdef").read_text()
PAGE = (ROOT / "docs/spec/delta-format.md").read_text()
STUB = ROOT / "src/deltaseal/_core/_native.pyi"

OLD = random.Random(1).randbytes(40_000)
NEW = OLD[:9000] + b"new words" + OLD[5000:]
PLENTY = 1 << 28


def create(old: bytes = OLD, new: bytes = NEW, **options: object) -> _core.Creation:
    return _core.create(old, new, **({"memory_bytes": PLENTY} | options))  # type: ignore[arg-type]


def raw(creation: _core.Creation) -> list[bytes]:
    return [bytes(creation.stream(number)) for number in range(_core.STREAM_COUNT)]


def delta_of(old: bytes, new: bytes) -> bytes:
    """A delta with all streams in one raw frame."""
    streams = raw(create(old, new, plain=True))
    body = b"".join(streams)
    header = _core.DeltaHeader(
        zstd_version=(1, 5, 7),
        old_size=len(old),
        new_size=len(new),
        digests=None,
        plain=True,
        has_context=False,
        raw_sizes=tuple(map(len, streams)),
        frame_of=(0,) * _core.STREAM_COUNT,
        frame_sizes=(len(body),),
        frame_raw=(True,),
    )
    return _core.write_header(header) + body


DELTA = delta_of(OLD, NEW)


def apply(
    sink: object, *, old: bytes = OLD, delta: bytes = DELTA, output: int = PLENTY, memory: int = PLENTY
) -> None:
    _core.apply(old, delta, sink, output_bytes=output, memory_bytes=memory)  # type: ignore[arg-type]


# What is bound agrees with what there is


def plainly(text: str) -> str:
    """C without comments, with the constants' values, in single spaces."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    for name, value in re.findall(r"^#define (\w+) (\d+)$", HEADER, flags=re.MULTILINE):
        text = re.sub(rf"\b{name}\b(?! \d)", value, text)
    return re.sub(r"\s+", " ", text)


def functions(text: str) -> set[str]:
    found = re.findall(r"((?:const )?\w+ \*?ds_\w+\([^;{]*\));", plainly(text))
    return {re.sub(r" ?\* ?", " *", function) for function in found if "DS_TRY" not in function}


def structs(text: str) -> dict[str, str]:
    return {
        name: body.strip()
        for body, name in re.findall(r"typedef struct(?: \w+)? \{(.*?)\} (\w+);", plainly(text))
    }


def test_the_binding_declares_what_the_header_does() -> None:
    bound = {function for function in functions(CDEF) if "ds_python" not in function}
    assert len(bound) >= 9 and bound <= functions(HEADER)
    assert structs(CDEF) == structs(HEADER)


def test_every_status_is_bound_and_has_words() -> None:
    enum = re.search(r"typedef enum ds_status \{(.*?)\} ds_status;", plainly(HEADER))
    assert enum is not None
    names = [name.strip().split(" ")[0] for name in enum[1].split(",") if name.strip()]
    assert [f"DS_{'E_' if status else ''}{status.name}" for status in Status] == names
    texts = {str(_core.CoreError(status)) for status in Status}
    assert len(texts) == len(Status) and all(texts)


def test_the_stub_offers_what_the_extension_does() -> None:
    stub = {node.target.id for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    assert stub == {name for name in dir(_native) if not name.startswith("_")}


def test_streams_are_those_of_the_page() -> None:
    rows = re.findall(r"^\| (\d) \| ([a-z ]+?) +\| ", PAGE, flags=re.MULTILINE)
    assert [name for _, name in rows] == list(_core.STREAM_NAMES) and len(rows) == _core.STREAM_COUNT
    assert _core.STREAM_NAMES[_core.CONTEXT_STREAM] == "code"


# Lengths and arguments


def test_streams_have_their_lengths_and_outlive_their_creation() -> None:
    creation = create()
    assert len(creation.stream(_core.STREAM_COUNT)) == len(creation.stream(1000)) == 0
    assert 0 < creation.peak_memory <= PLENTY
    streams = [creation.stream(number) for number in range(_core.STREAM_COUNT)]
    del creation
    assert sum(map(len, streams)) > 0
    assert streams == [create().stream(number) for number in range(_core.STREAM_COUNT)]


@pytest.mark.parametrize("old", [b"", b"1", OLD])
@pytest.mark.parametrize("new", [b"", b"1", NEW])
def test_pieces_add_up_to_the_new_image(old: bytes, new: bytes) -> None:
    pieces: list[bytes] = []
    apply(lambda piece: pieces.append(bytes(piece)) or True, old=old, delta=delta_of(old, new))
    assert b"".join(pieces) == new and all(pieces)


@pytest.mark.parametrize("rounds", [9, 1000])
def test_more_rounds_than_there_may_be(rounds: int) -> None:
    with pytest.raises(_core.CoreError) as caught:
        create(rounds=rounds)
    assert caught.value.status is Status.ARGUMENT


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_numbers_that_are_none_of_c(number: int) -> None:
    with pytest.raises(OverflowError):
        create(memory_bytes=number)
    with pytest.raises(OverflowError):
        apply(lambda _: True, output=number)


@pytest.mark.parametrize("wrong", ["text", None, 7, [1, 2]])
def test_only_bytes_are_taken(wrong: object) -> None:
    with pytest.raises(TypeError):
        create(old=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        apply(lambda _: True, delta=wrong)  # type: ignore[arg-type]


def test_the_same_streams_for_any_threads() -> None:
    assert raw(create(threads=1)) == raw(create(threads=2)) == raw(create(threads=7))


# Headers


numbers = st.integers(0, 2**40)


@given(
    version=st.tuples(*[st.integers(0, 255)] * 3),
    sizes=st.tuples(numbers, st.integers(2**50, 2**55)),
    digests=st.none() | st.tuples(*[st.binary(min_size=16, max_size=16)] * 2),
    flags=st.tuples(st.booleans(), st.booleans()),
    raw_sizes=st.lists(numbers, min_size=10, max_size=10),
    starts=st.sets(st.integers(1, 9)),
    stored=st.lists(st.tuples(st.integers(0, 300), st.booleans()), min_size=10, max_size=10),
)
def test_a_header_comes_back(
    version: tuple[int, int, int],
    sizes: tuple[int, int],
    digests: tuple[bytes, bytes] | None,
    flags: tuple[bool, bool],
    raw_sizes: list[int],
    starts: set[int],
    stored: list[tuple[int, bool]],
) -> None:
    frame_of = tuple(sum(start <= stream for start in starts) for stream in range(10))
    frames = stored[: len(starts) + 1]
    header = _core.DeltaHeader(
        version,
        *sizes,
        digests,
        *flags,
        tuple(raw_sizes),
        frame_of,
        tuple(size for size, _ in frames),
        tuple(is_raw for _, is_raw in frames),
    )
    written = _core.write_header(header)
    delta = written + bytes(sum(header.frame_sizes))
    read = _core.read_header(delta)
    assert (read.header_size, read.total_size) == (len(written), len(delta))
    assert _core.write_header(read) == written
    for name in ("zstd_version", "old_size", "new_size", "digests", "plain", "has_context", "raw_sizes"):
        assert getattr(read, name) == getattr(header, name)
    assert (read.frame_of, read.frame_sizes, read.frame_raw) == (
        frame_of,
        header.frame_sizes,
        header.frame_raw,
    )


def test_a_header_that_cannot_be_written() -> None:
    good = _core.read_header(DELTA)
    one = {"frame_of": (0,) * 10, "frame_raw": (True,)}
    for changes in (
        {"old_size": 2**63},
        {"new_size": 2**64 - 1},
        {"raw_sizes": (2**63,) + (0,) * 9},
        {"frame_sizes": (2**62,), **one},
    ):
        with pytest.raises(_core.CoreError) as caught:
            _core.write_header(_replaced(good, changes))
        assert caught.value.status is Status.ARGUMENT


def _replaced(header: _core.DeltaHeader, changes: dict[str, object]) -> _core.DeltaHeader:
    return header._replace(**changes)


# Callbacks


class Odd(BaseException):
    """Of no known family."""


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), Odd()])
def test_an_exception_of_the_sink_comes_out(error: BaseException) -> None:
    calls = 0

    def sink(_: memoryview) -> bool:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error)) as caught:
        apply(sink)
    assert caught.value is error and calls == 1


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), Odd()])
def test_an_exception_of_progress_comes_out(error: BaseException) -> None:
    def progress(_: int) -> bool:
        raise error

    with pytest.raises(type(error)) as caught:
        create(progress=progress)
    assert caught.value is error


def test_a_sink_that_says_no_cancels() -> None:
    with pytest.raises(_core.CoreError) as caught:
        apply(lambda _: False)
    assert caught.value.status is Status.CANCELLED


def test_progress_rises_and_cancels_at_any_call() -> None:
    seen: list[int] = []
    create(progress=lambda done: seen.append(done) or True)
    assert seen and seen == sorted(seen) and seen[0] >= 0 and seen[-1] <= 1000
    for number in range(len(seen)):
        left = iter([True] * number + [False])
        with pytest.raises(_core.CoreError) as caught:
            create(progress=lambda _, left=left: next(left))
        assert caught.value.status is Status.CANCELLED


def test_a_callback_may_call_the_core_again() -> None:
    made: list[bytes] = []

    def progress(_: int) -> bool:
        made.append(delta_of(b"12345678" * 9, b"12345678" * 8))
        return True

    create(progress=progress)
    assert len(set(made)) == 1


# Other threads


def test_other_threads_run_meanwhile() -> None:
    """No callback, so only the core itself can let the other thread run."""
    draw = random.Random(4)
    old = draw.randbytes(1 << 20)
    new = b"".join(draw.choice((old[at : at + 64], draw.randbytes(64))) for at in range(0, len(old), 64))
    ticks, stop = 0, threading.Event()

    def count() -> None:
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        while ticks == 0:
            time.sleep(0.001)
        before = ticks
        create(old, new, memory_bytes=1 << 30)
        meanwhile = ticks - before
    finally:
        stop.set()
        thread.join()
    assert meanwhile >= 5


def test_many_threads_at_once_make_the_same() -> None:
    made: list[list[bytes]] = []
    threads = [threading.Thread(target=lambda: made.append(raw(create()))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [raw(create())] * 6


# Ceilings of memory


def test_creating_keeps_to_its_ceiling_or_says_so() -> None:
    """Where memory is short the old image is looked up at fewer places; what does not fit is refused."""
    needed = create().peak_memory
    assert raw(create(memory_bytes=needed)) == raw(create())
    refused = []
    for share in range(0, 100, 7):
        ceiling = needed * share // 100
        try:
            assert create(memory_bytes=ceiling).peak_memory <= ceiling
        except _core.CoreError as error:
            assert error.status is Status.MEMORY
            refused.append(share)
    assert refused and refused == list(range(0, refused[-1] + 1, 7))


def test_applying_keeps_to_its_ceiling_or_says_so() -> None:
    statuses = []
    for memory in range(0, 1 << 20, 1 << 15):
        try:
            apply(lambda _: True, memory=memory)
            statuses.append(Status.OK)
        except _core.CoreError as error:
            statuses.append(error.status)
    assert statuses == sorted(statuses, reverse=True) and set(statuses) == {Status.OK, Status.MEMORY}


def test_the_limit_of_the_output() -> None:
    apply(lambda _: True, output=len(NEW))
    with pytest.raises(_core.CoreError) as caught:
        apply(lambda _: True, output=len(NEW) - 1)
    assert caught.value.status is Status.LIMIT


# ---- an old image that was read ahead of the proof ----


def opened_of(old: bytes, **options: object) -> _core.OpenedOld | None:
    return create(old, NEW, **({"plain": True, "prove": True, "threads": 2} | options)).take_opened()


def test_a_second_thread_reads_old_for_the_proof() -> None:
    assert opened_of(OLD, threads=1) is None
    assert opened_of(OLD, prove=False) is None
    opened = opened_of(OLD)
    assert opened is not None
    assert 0 < opened.memory < PLENTY
    assert _core.prove(OLD, NEW, DELTA, memory_bytes=PLENTY, opened=opened) == len(NEW)


def test_what_was_opened_is_handed_out_once() -> None:
    creation = create(plain=True, prove=True, threads=2)
    assert creation.take_opened() is not None
    assert creation.take_opened() is None


def test_what_was_opened_hides_no_fault() -> None:
    wrong = DELTA[:-1] + bytes([DELTA[-1] ^ 1])
    same = _core.prove(OLD, NEW, wrong, memory_bytes=PLENTY)
    assert same < len(NEW)
    assert _core.prove(OLD, NEW, wrong, memory_bytes=PLENTY, opened=opened_of(OLD)) == same


@pytest.mark.parametrize("differs", [{"old": b"?" + OLD[1:]}, {"plain": False}])
def test_what_was_opened_otherwise_is_not_used(differs: dict[str, object]) -> None:
    opened = opened_of(**({"old": OLD} | differs))  # type: ignore[arg-type]
    assert opened is not None
    assert _core.prove(OLD, NEW, DELTA, memory_bytes=PLENTY, opened=opened) == len(NEW)


def test_a_proof_keeps_to_its_memory_whatever_was_opened() -> None:
    for opened in (None, opened_of(OLD)):
        with pytest.raises(_core.CoreError) as caught:
            _core.prove(OLD, NEW, DELTA, memory_bytes=1000, opened=opened)
        assert caught.value.status is Status.MEMORY


def test_old_that_is_no_longer_named_is_kept_while_it_is_read() -> None:
    for _ in range(20):
        creation = create(bytearray(OLD * 50), NEW, plain=True, prove=True, threads=2)  # type: ignore[arg-type]
        opened = creation.take_opened()
        del creation, opened
