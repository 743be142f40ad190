"""Frames of a delta of streams: what a reader holds for all of them is bounded, however large they are."""

from __future__ import annotations

import pytest
import zstandard

from deltaseal import _core
from deltaseal.images.compressing import widest_window
from deltaseal.images.container import Frame, choose_frames

MB = 1 << 20
HELD = 32 * MB  # docs/spec/delta-format.md, "Container"


def window(frame: Frame) -> int:
    magic = b"\x28\xb5\x2f\xfd"  # stored frames have none
    return 0 if frame.raw else zstandard.get_frame_parameters(magic + frame.stored).window_size


@pytest.mark.parametrize("context", [0, 7 * MB])
def test_many_large_streams_can_be_read_together(context: int) -> None:
    streams = [bytes(5 * MB + number) for number in range(_core.STREAM_COUNT)]
    parts = [_core.CodePart(0, bytes(context))]
    frames, has_context = choose_frames(streams, parts)
    assert [frame.streams for frame in frames] == [(number,) for number in range(_core.STREAM_COUNT)]
    assert has_context == (context > 0)
    assert HELD / 2 < sum(map(window, frames)) <= HELD


def test_windows_are_as_wide_as_they_may_be() -> None:
    assert widest_window([]) == widest_window([100 * MB]) == widest_window([100 * MB] * 4) == 23
    assert widest_window([100 * MB] * 5) == 22
    assert widest_window([100 * MB] * 9) == 21
    assert widest_window([100 * MB] * 4 + [1]) == 22  # the least window is 1 KiB
