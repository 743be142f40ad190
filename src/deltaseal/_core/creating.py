"""The part of the binding that makes deltas, and applies in this process those that it has made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from deltaseal._core._native import ffi, lib
from deltaseal._core.binding import Buffer, check_status

__all__ = [
    "TECHNIQUES",
    "CodePart",
    "Creation",
    "Modelled",
    "OpenedOld",
    "Prepared",
    "Without",
    "apply",
    "create",
    "prove",
    "sketch_code",
]

# ---- callbacks: an exception of Python's stops the core, and comes out of the call ----


class _Call:
    """One call of the core with a callback into Python."""

    def __init__(self, function: Callable[[Any], bool]) -> None:
        self.function = function
        self.error: BaseException | None = None

    def __call__(self, argument: Any) -> bool:
        try:
            return self.function(argument)
        except BaseException as error:
            self.error = error
            return False

    def raise_error(self) -> None:
        if self.error is not None:
            raise self.error


def _keep(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    # A signal that came while the core was at work is raised at the callback's first step, outside its call.
    ffi.from_handle(trace.tb_frame.f_locals["context"]).error = error


@ffi.def_extern(onerror=_keep)  # type: ignore[untyped-decorator]
def ds_python_sink(context: Any, data: Any, size: int) -> bool:
    call: _Call = ffi.from_handle(context)
    return call(memoryview(ffi.buffer(data, size)))


@ffi.def_extern(onerror=_keep)  # type: ignore[untyped-decorator]
def ds_python_hashes(context: Any, hashes: Any, count: int) -> bool:
    call: _Call = ffi.from_handle(context)
    return call(ffi.unpack(hashes, count))


@ffi.def_extern(onerror=_keep)  # type: ignore[untyped-decorator]
def ds_python_progress(context: Any, done: int) -> bool:
    call: _Call = ffi.from_handle(context)
    return call(done)


# ---- create ----


class Modelled(NamedTuple):
    """A delta's body coded by the model, and the size of the table it needs (units of 256 KiB)."""

    body: bytes
    table: int


class CodePart(NamedTuple):
    """Literals of code from ``start`` of their stream on, and the old bytes round their places."""

    start: int
    context: bytes


class _Free:
    """Frees what a thread of the core may be at work on, and keeps until then what that reads."""

    def __init__(self, free: Callable[[Any], None], kept: Any) -> None:
        self.free = free
        self.kept = kept

    def __call__(self, pointer: Any) -> None:
        self.free(pointer)


class OpenedOld:
    """An old image that a thread of the core reads for ``prove``. It keeps the bytes, and serves once."""

    def __init__(self, pointer: Any, old: Any) -> None:
        self.pointer = ffi.gc(pointer, _Free(lib.ds_opened_free, old))
        self.memory = int(lib.ds_opened_memory(pointer))  # bytes that it holds at most, until the proof

    def free(self) -> None:
        """Give its memory back, once its thread has ended; the object is of no more use."""
        ffi.release(self.pointer)


class Creation:
    """Typed raw streams of one delta, handed out as copies: they outlive this object."""

    def __init__(self, pointer: Any, old: Any) -> None:
        self._old = old
        self._pointer = ffi.gc(pointer, _Free(lib.ds_create_free, old))

    def take_opened(self) -> OpenedOld | None:
        """What ``prove`` began and did not end, for the proof; None where there is nothing."""
        pointer = lib.ds_create_take_opened(self._pointer)
        return None if pointer == ffi.NULL else OpenedOld(pointer, self._old)

    def stream(self, index: int) -> bytes:
        """The raw bytes of stream ``index``."""
        size = ffi.new("uint64_t *")
        data = lib.ds_stream_at(self._pointer, index, size)
        return bytes(ffi.buffer(data, size[0]))

    def code_parts(self) -> list[CodePart]:
        """The parts of stream ``CONTEXT_STREAM``, at least one; none of the model's."""
        size, start = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        parts = []
        for part in range(lib.ds_code_part_count(self._pointer)):
            data = lib.ds_context_at(self._pointer, part, size, start)
            parts.append(CodePart(start[0], bytes(ffi.buffer(data, size[0]))))
        return parts

    def free(self) -> None:
        """Give its memory back; what was handed out stays, the object is of no more use."""
        ffi.release(self._pointer)

    def modelled(self) -> Modelled:
        """What the model made: the body of a modelled delta."""
        size, table = ffi.new("uint64_t *"), ffi.new("unsigned *")
        data = lib.ds_modelled_at(self._pointer, size, table)
        return Modelled(bytes(ffi.buffer(data, size[0])), table[0])

    def modelled_costs(self) -> dict[str, float]:
        """Bytes, nearly, that each kind of the model's decisions took."""
        costs: dict[str, float] = {}
        name = ffi.new("char const **")
        while True:
            cost = lib.ds_modelled_cost(self._pointer, len(costs), name)
            if name[0] == ffi.NULL:
                return costs
            costs[ffi.string(name[0]).decode("ascii")] = cost / 4096 / 8

    @property
    def has_parsed(self) -> bool:
        """Whether either image was understood, at least in part; else this is the delta of plain bytes."""
        return bool(lib.ds_create_has_parsed(self._pointer))

    @property
    def is_proved(self) -> bool:
        """Whether the model's string was applied already, and gave the new image."""
        return bool(lib.ds_create_is_proved(self._pointer))

    @property
    def balance(self) -> tuple[int, int]:
        """Copied references that changed, as predicted; that did not, unlike predicted."""
        helped, harmed = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        lib.ds_create_balance(self._pointer, helped, harmed)
        return helped[0], harmed[0]

    @property
    def peak_memory(self) -> int:
        """Bytes the core held at its peak, beside the two images."""
        return int(lib.ds_create_peak_memory(self._pointer))


# What a creation can do without, to measure what it gives (deltaseal.h says what each is).
TECHNIQUES: dict[str, int] = {
    "labels": lib.DS_WITHOUT_LABELS,
    "prices": lib.DS_WITHOUT_PRICES,
    "derivations": lib.DS_WITHOUT_DERIVATIONS,
    "deflate": lib.DS_WITHOUT_DEFLATE,
    "old bytes": lib.DS_WITHOUT_OLD_BYTES,
    "teaching": lib.DS_WITHOUT_TEACHING,
    "lessons": lib.DS_WITHOUT_LESSONS,
    "neighbours": lib.DS_WITHOUT_NEIGHBOURS,
    "unwind tables": lib.DS_WITHOUT_FRAMES,
    "renames": lib.DS_WITHOUT_RENAMES,
    "paddings": lib.DS_WITHOUT_PADDINGS,
    "landmarks": lib.DS_WITHOUT_LANDMARKS,
    "fresh": lib.DS_WITHOUT_FRESH,
}


class Without(NamedTuple):
    """Techniques to do without, by name, and kinds of references, a bit each by their number."""

    techniques: tuple[str, ...] = ()
    kinds: int = 0

    @property
    def mask(self) -> int:
        """As the core takes it. Raises KeyError for an unknown technique."""
        return sum({TECHNIQUES[name] for name in self.techniques})


class Prepared:
    """An old image, read and indexed once for several creations; it keeps the image's bytes.

    Raises CoreError: MEMORY over ``memory_bytes``, LIMIT over 4 GiB - 64 KiB.
    """

    def __init__(self, old: Buffer, *, memory_bytes: int, threads: int = 1) -> None:
        self.old = old
        self._data = ffi.from_buffer("uint8_t[]", old)
        out = ffi.new("ds_prepared **")
        check_status(lib.ds_prepare(self._data, len(old), memory_bytes, threads, out))
        self.pointer = ffi.gc(out[0], lib.ds_prepared_free)


def create(
    old: Buffer,
    new: Buffer,
    *,
    memory_bytes: int,
    threads: int = 1,
    rounds: int = 0,
    plain: bool = False,
    modelled: bool = False,
    prove: bool = False,
    parts: Sequence[int] = (),
    without: Without | None = None,
    prepared: Prepared | None = None,
    progress: Callable[[int], bool] | None = None,
) -> Creation:
    """Compute a delta: streams, or what the model makes of it. ``progress`` gets 0 to 1000; False cancels.
    ``parts``: sizes of the files that ``old`` is made of, one after the other, where it is several.
    ``prove``: a second thread begins the proof while the delta is written. It reads the old image for
    ``prove`` (``take_opened``), and applies what the model codes (``is_proved``).
    ``without`` is for measurement: of what it makes only the size is of use. ``prepared`` must be of ``old``,
    the same buffer; it changes no byte.

    Raises CoreError: MEMORY over ``memory_bytes``, LIMIT over 4 GiB - 64 KiB, CANCELLED.
    """
    call = _Call(progress) if progress is not None else None
    handle = ffi.new_handle(call) if call is not None else ffi.NULL
    options = ffi.new("ds_create_options *")
    options.memory_bytes = memory_bytes
    options.threads = threads
    options.rounds = rounds
    options.plain, options.modelled, options.prove = plain, modelled, prove
    options.part_count, options.part_sizes = len(parts), list(parts)
    if without is not None:
        options.without, options.without_kinds = without.mask, without.kinds
    if prepared is not None:
        options.prepared = prepared.pointer
    options.progress = lib.ds_python_progress if call is not None else ffi.NULL
    options.context = handle
    out = ffi.new("ds_creation **")
    old_data, new_data = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", new)
    status = lib.ds_create(old_data, len(old), new_data, len(new), options, out)
    if call is not None:
        call.raise_error()
    check_status(status)
    return Creation(out[0], old_data)


def sketch_code(data: Buffer, *, memory_bytes: int) -> frozenset[int]:
    """Hashes of some of an image's code, the same wherever a function lies; none of what is no image.

    Raises CoreError: MEMORY over ``memory_bytes``.
    """
    found: list[int] = []

    def take(hashes: list[int]) -> bool:
        found.extend(hashes)
        return True

    call = _Call(take)
    handle = ffi.new_handle(call)
    bytes_ = ffi.from_buffer("uint8_t[]", data)
    status = lib.ds_sketch_code(bytes_, len(data), memory_bytes, lib.ds_python_hashes, handle)
    call.raise_error()
    check_status(status)
    return frozenset(found)


# ---- apply ----


def apply(
    old: Buffer,
    delta: Buffer,
    sink: Callable[[memoryview], bool],
    *,
    output_bytes: int,
    memory_bytes: int,
) -> None:
    """Apply a delta in this process; ``sink`` gets the new image piece by piece.

    For deltas this process has made itself; foreign ones go through the confined child.
    Raises CoreError.
    """
    call = _Call(sink)
    handle = ffi.new_handle(call)
    limits = ffi.new("ds_limits *", {"output_bytes": output_bytes, "memory_bytes": memory_bytes})
    old_data, delta_data = ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint8_t[]", delta)
    status = lib.ds_apply(old_data, len(old), delta_data, len(delta), limits, lib.ds_python_sink, handle)
    call.raise_error()
    check_status(status)


def prove(
    old: Buffer, new: Buffer, delta: Buffer, *, memory_bytes: int, opened: OpenedOld | None = None
) -> int:
    """Apply a delta that this process has made, and count the bytes that are those of ``new``.
    ``opened`` must be of ``old``, the same buffer.

    Raises CoreError.
    """
    same = ffi.new("uint64_t *")
    old_data, new_data, data = (ffi.from_buffer("uint8_t[]", side) for side in (old, new, delta))
    call = _Call(lambda done: True)  # so that a signal is heard meanwhile
    handle = ffi.new_handle(call)
    progress = lib.ds_python_progress
    ahead = opened.pointer if opened is not None else ffi.NULL
    status = lib.ds_prove(
        old_data, len(old), new_data, len(new), data, len(delta), memory_bytes, ahead, progress, handle, same
    )
    call.raise_error()
    check_status(status)
    return int(same[0])
