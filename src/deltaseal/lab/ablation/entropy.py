"""The same raw streams under several coders, and where the model's bytes are."""

from __future__ import annotations

import lzma
import time
from collections.abc import Callable
from dataclasses import dataclass

from deltaseal.errors import UsageError
from deltaseal.images.parts import Parts, compress_stream

__all__ = ["CODERS", "Coded", "code_streams", "joined"]

_LZMA2 = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]


def _xz(data: bytes) -> int:
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=_LZMA2))


def _brotli(data: bytes) -> int:
    try:
        import brotli
    except ModuleNotFoundError as error:
        raise UsageError("brotli is not installed", hint="pip install 'deltaseal[bench]'") from error
    return len(brotli.compress(data, quality=11, lgwin=24))


# Sizes in bytes; all without a container, since streams share one.
CODERS: dict[str, Callable[[bytes], int]] = {
    "zstd": lambda data: len(compress_stream(data)),
    "xz": _xz,
    "brotli": _brotli,
}


@dataclass(frozen=True, slots=True)
class Coded:
    """One stream: bytes raw, and under each coder with the processor seconds it took."""

    stream: str
    raw: int
    sizes: dict[str, int]
    cpu_s: dict[str, float]


def _coded(name: str, data: bytes, coders: dict[str, Callable[[bytes], int]]) -> Coded:
    sizes, cpu = {}, {}
    for coder, size_of in coders.items():
        before = time.process_time()
        sizes[coder] = size_of(data) if data else 0
        cpu[coder] = time.process_time() - before
    return Coded(name, len(data), sizes, cpu)


def code_streams(parts: Parts) -> list[Coded]:
    """Each stream by itself; the literals of code with zstd behind their context too, as a delta has them."""
    rows = [_coded(name, data, CODERS) for name, data in parts.streams.items()]
    code = parts.streams["code"]
    if parts.context and code:
        behind = {"zstd": lambda data: len(compress_stream(data, parts.context))}
        rows.append(_coded("code, behind old bytes", code, behind))
    return rows


def joined(parts: Parts) -> Coded:
    """All streams one after the other: what the coders make of a small delta at their best."""
    return _coded("all joined", b"".join(parts.streams.values()), CODERS)
