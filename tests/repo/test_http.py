"""Fetching over HTTP, from servers of every temper."""

from __future__ import annotations

import contextlib

import pytest
from support.loopback import Served, of, serving

from deltaseal.errors import LimitError, NetworkError, UsageError
from deltaseal.repo import transport_of
from deltaseal.repo.http import FIRST_RANGE, FLOOR, WINDOW, HttpTransport
from deltaseal.storage import MissingError, ShortReadError

BODY = bytes(range(256)) * 400


def at(served: Served, *, floor: int = FLOOR, window: float = WINDOW) -> HttpTransport:
    return HttpTransport(served.url, floor=floor, window=window)


def test_a_file_comes_whole() -> None:
    with serving(of({"a/b": BODY})) as served:
        transport = at(served)
        assert transport.read("a/b", len(BODY)) == BODY
        assert transport.counted.requests == 1
        assert len(BODY) < transport.counted.bytes < len(BODY) + 300


def test_T04_one_byte_over_the_limit_is_refused() -> None:
    with serving(of({"a": BODY})) as served, pytest.raises(LimitError):
        at(served).read("a", len(BODY) - 1)


def test_T04_endless_data_is_refused() -> None:
    with serving(of({"a": BODY})) as served:
        served.endless = True
        with pytest.raises(LimitError):
            at(served).read("a", 1 << 20)


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_not_there_is_missing(status: int) -> None:
    with serving(of({"a": BODY})) as served:
        served.status = status
        transport = at(served)
        for _ in range(2):
            with pytest.raises(MissingError):
                transport.read("a", 10)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_other_answers_are_failures_of_the_network(status: int) -> None:
    with serving(of({"a": BODY})) as served:
        served.status = status
        with pytest.raises(NetworkError) as error:
            at(served).read("a", 10)
        assert str(status) in error.value.sentence


def test_nobody_there() -> None:
    with serving(of({})) as served:
        pass
    with pytest.raises(NetworkError) as error:
        at(served).read("a", 10)
    assert served.url in error.value.sentence
    assert "_Watched" not in error.value.sentence


def test_T05_a_drip_of_the_body_is_left() -> None:
    with serving(of({"a": BODY})) as served:
        served.drip = 0.05
        with pytest.raises(NetworkError) as error:
            at(served, window=0.5).read("a", len(BODY))
        assert "slower than 1024 bytes a second" in error.value.sentence


def test_T05_a_drip_of_the_head_is_left() -> None:
    with serving(of({"a": BODY})) as served:
        served.drip_head = 0.05
        with pytest.raises(NetworkError) as error:
            at(served, window=0.5).read("a", len(BODY))
        assert "slower than" in error.value.sentence


def test_T05_who_is_just_fast_enough_is_heard_to_the_end() -> None:
    with serving(of({"a": BODY[:100]})) as served:
        served.drip = 0.01
        assert at(served, floor=20, window=0.3).read("a", 100) == BODY[:100]


def test_the_floor_is_what_the_product_says() -> None:
    assert (FLOOR, WINDOW) == (1024, 60)


def test_a_body_that_breaks_off() -> None:
    with serving(of({"a": BODY})) as served:
        served.break_after = 1_000
        with pytest.raises(NetworkError):
            at(served).read("a", len(BODY))


@pytest.mark.parametrize("ranges", [True, False])
def test_ranges(ranges: bool) -> None:
    with serving(of({"a": BODY})) as served:
        served.ranges = ranges
        file = at(served).open("a")
        assert file.size() == len(BODY)
        for offset, size in (
            (0, 16),
            (5, 100),
            (FIRST_RANGE - 1, 2),
            (50_000, 1_000),
            (len(BODY) - 1, 1),
            (7, 0),
        ):
            assert file.read_at(offset, size) == BODY[offset : offset + size]
        with pytest.raises(ShortReadError):
            file.read_at(len(BODY), 1)


def test_the_beginning_is_one_request() -> None:
    with serving(of({"a": BODY})) as served:
        file = at(served).open("a")
        file.read_at(0, 16)
        file.read_at(16, FIRST_RANGE - 16)
        assert served.asked == [f"a bytes=0-{FIRST_RANGE - 1}"]


def test_a_file_that_changes_meanwhile() -> None:
    with serving(of({"a": BODY})) as served:
        file = at(served).open("a")
        served.files = {"a": BODY[:-1]}.get
        with pytest.raises(NetworkError):
            file.read_at(60_000, 10)
        served.files = {}.get
        with pytest.raises(NetworkError):
            file.read_at(60_000, 10)


def test_a_server_that_does_not_say_how_large() -> None:
    with serving(of({"a": BODY})) as served:
        served.ranges = served.content_length = False
        with pytest.raises(NetworkError):
            at(served).open("a")


def test_a_redirect_is_followed_a_few_times() -> None:
    with serving(of({"b": BODY})) as served:
        served.redirect = {"a": f"{served.url}/b", "loop": f"{served.url}/loop"}
        assert at(served).read("a", len(BODY)) == BODY
        with pytest.raises(NetworkError):
            at(served).read("loop", 10)


def test_a_proxy_is_asked_instead() -> None:
    with serving(of({"a": BODY})) as proxy:
        asked: list[str] = []

        def proxy_for(url: str) -> str | None:
            asked.append(url)
            return proxy.url

        transport = HttpTransport("http://nobody.invalid/", proxy_for)
        assert transport.read("a", len(BODY)) == BODY
        assert asked == ["http://nobody.invalid/a"]


def test_names_are_quoted() -> None:
    with serving(of({"targets/Mac%20Pro%3F": b"x"})) as served:
        assert at(served).read("targets/Mac Pro?", 1) == b"x"


def test_a_password_is_not_said() -> None:
    assert HttpTransport("https://me:secret@mirror.example/x?token=1").name == "https://mirror.example/x"


@pytest.mark.parametrize("place", ["ftp://a/b", "file:///etc", "://x"])
def test_other_kinds_of_url(place: str) -> None:
    with pytest.raises(UsageError):
        transport_of(place)


def test_the_connection_is_used_again() -> None:
    with serving(of({"a": BODY})) as served:
        transport = at(served)
        for name in ("a", "missing", "a"):
            with contextlib.suppress(MissingError):
                transport.read(name, len(BODY))
        assert len(served.asked) == 3
        assert len(served.ports) == 1
