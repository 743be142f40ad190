"""What a process takes from outside: clock, randomness, identity, power, processes, hooks.

Nothing below this module asks the system for any of these. The command line
makes one :class:`Edge` with :func:`system_edge` and passes it in; tests pass in
their own, so that a date, a boot or a running program is a value like another.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deltaseal.errors import NetworkError

__all__ = [
    "RELEASED",
    "Edge",
    "HookResult",
    "Mapping",
    "Process",
    "available_cores",
    "available_memory",
    "processes_from",
    "system_edge",
]

# 2026-01-01T00:00:00Z, seconds since 1970: nothing this program accepts can have been checked before it
# was released, so no clock is believed that says less (product rule R9). A constant of the release, not
# the environment's SOURCE_DATE_EPOCH: a floor that the caller can lower would be none.
RELEASED = 1_767_225_600

_DELETED = " (deleted)"  # the kernel's mark behind the path of a file that is gone
_MANAGER = "org.freedesktop.NetworkManager"

_ANSWER_BYTES = 4096  # of an HTTP answer that is read: nothing in it matters
_HOOK_OUTPUT_BYTES = 4096  # of a hook's words kept for people; the rest is dropped


@dataclass(frozen=True, slots=True)
class Mapping:
    """One file that a process has mapped into its memory."""

    device: int  # as ``os.stat`` gives it
    inode: int
    path: str  # as the kernel names it; without its " (deleted)" mark
    deleted: bool = False  # the kernel marked it: nothing leads to this file any more
    start: int = 0  # address of the first part that is mapped
    end: int = 0


@dataclass(frozen=True, slots=True)
class Process:
    """One running process: its id, its names, and what it maps."""

    pid: int
    names: frozenset[str]  # the short name and the file name of its program
    mappings: tuple[Mapping, ...]
    unit: str = ""  # the systemd unit that it belongs to, such as "browser.service"
    readable: bool = True  # whether we may see what it maps; if not, there are no mappings


@dataclass(frozen=True, slots=True)
class HookResult:
    """How a hook ended: its exit status (``None``: not within its time) and its first words."""

    status: int | None
    words: str


def _nothing(pid: int, mapping: Mapping, offset: int, size: int) -> bytes:
    """For an edge without processes of its own."""
    return b""


def _unsent(address: str, body: bytes, seconds: float) -> None:
    """For an edge without a network."""
    raise NetworkError(f"nothing is sent to {address!r} here", address=address)


def _untold(program: Path, words: bytes, seconds: float) -> HookResult:
    """For an edge that runs no programs."""
    return HookResult(126, "no program is run here")


def _no_proxy(url: str) -> str | None:
    """For an edge that reaches every server directly."""
    return None


@dataclass(frozen=True, slots=True)
class Edge:
    """What a process takes from outside, passed in at the edge and never reached for inside."""

    now: Callable[[], int]  # seconds since 1970, UTC
    random: Callable[[int], bytes]  # that many bytes, fit for keys and nonces
    uid: int  # who runs us; 0 is the administrator
    boot_id: str  # differs after each start of the machine
    build_date: int  # seconds since 1970: the lowest floor of the clock (R9)
    battery: Callable[[], int | None]  # percent left; None: unknown, or no battery
    metered: Callable[[], bool | None]  # does the network cost by the byte? None: unknown
    processes: Callable[[], tuple[Process, ...]]  # what runs now, as far as we may see
    run_hook: Callable[[Path, float], HookResult]  # a program of the device's owner, and its seconds
    sleep: Callable[[float], None]  # seconds
    # Of a process (pid) and a file that it maps: the bytes at (offset, size), also where the file is deleted.
    # Nothing where we may not look.
    read_mapped: Callable[[int, Mapping, int, int], bytes] = _nothing
    # As run_hook, with bytes on the hook's standard input.
    tell_hook: Callable[[Path, bytes, float], HookResult] = _untold
    # Sends bytes to an address by HTTP POST within so many seconds; NetworkError where it is not taken over.
    post: Callable[[str, bytes, float], None] = _unsent
    # The URL of the proxy through which a URL is to be fetched; None: directly.
    proxy_for: Callable[[str], str | None] = _no_proxy


def system_edge() -> Edge:
    """The edge of this machine."""
    return Edge(
        now=lambda: int(time.time()),
        random=os.urandom,
        uid=os.getuid(),
        boot_id=_first_line(Path("/proc/sys/kernel/random/boot_id")) or "unknown",
        build_date=RELEASED,
        battery=lambda: _battery(Path("/sys/class/power_supply")),
        metered=_metered,
        processes=lambda: tuple(processes_from(Path("/proc"))),
        run_hook=lambda program, seconds: _run_hook(program, b"", seconds),
        sleep=time.sleep,
        read_mapped=_read_mapped,
        tell_hook=_run_hook,
        post=_post,
        proxy_for=_proxy_for,
    )


def available_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))


def available_memory() -> int:
    """Bytes that programs of this machine, or of this control group, can still have."""
    told = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
    free = int(told["MemAvailable"].split()[0]) << 10
    most, used = (_first_line(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    return min(free, int(most) - int(used)) if most.isdigit() and used.isdigit() else free


def processes_from(proc: Path) -> Iterator[Process]:
    """The processes under a ``/proc`` folder. One that ends meanwhile is left out."""
    for entry in sorted(proc.glob("[0-9]*")):
        readable = True
        try:
            maps = (entry / "maps").read_text(errors="surrogateescape")
        except PermissionError:
            maps, readable = "", False
        except OSError:
            continue
        program = _link(entry / "exe")
        names = {_first_line(entry / "comm"), program.removesuffix(_DELETED).rpartition("/")[2]}
        files: dict[tuple[int, int, str], Mapping] = {}
        for mapping in _mappings(maps):  # in the order of addresses: the first part of a file comes first
            files.setdefault((mapping.device, mapping.inode, mapping.path), mapping)
        yield Process(
            int(entry.name), frozenset(names - {""}), tuple(files.values()), _unit(entry / "cgroup"), readable
        )


def _mappings(maps: str) -> Iterator[Mapping]:
    # A line, proc(5): address perms offset major:minor inode path, the path possibly with spaces.
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6 or fields[4] == "0":
            continue
        start, _, end = fields[0].partition("-")
        major, _, minor = fields[3].partition(":")
        yield Mapping(
            device=os.makedev(int(major, 16), int(minor, 16)),
            inode=int(fields[4]),
            path=fields[5].removesuffix(_DELETED),
            deleted=fields[5].endswith(_DELETED),
            start=int(start, 16),
            end=int(end, 16),
        )


def _unit(cgroup: Path) -> str:
    # A line, cgroups(7): number:controllers:path; systemd names each group by its unit.
    try:
        lines = cgroup.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    parts = [part for line in lines for part in line.rpartition(":")[2].split("/")]
    return next((part for part in reversed(parts) if part.endswith(".service")), "")


def _read_mapped(pid: int, mapping: Mapping, offset: int, size: int) -> bytes:
    # The file itself, for those who may; else what the process has of its beginning in its memory.
    for path, at, most in (
        (f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}", offset, size),
        (f"/proc/{pid}/mem", mapping.start + offset, min(size, mapping.end - mapping.start - offset)),
    ):
        if most <= 0:
            continue
        try:
            with open(path, "rb", buffering=0) as file:
                return os.pread(file.fileno(), most, at)
        except OSError:
            continue
    return b""


def _metered() -> bool | None:
    """What NetworkManager says, where it runs: its NMMetered is 1 or 3 for yes, 2 or 4 for no."""
    asked = ["busctl", "--system", "get-property", _MANAGER, f"/{_MANAGER.replace('.', '/')}", _MANAGER]
    try:
        told = subprocess.run([*asked, "Metered"], capture_output=True, timeout=5, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"u 1": True, "u 3": True, "u 2": False, "u 4": False}.get(told.stdout.strip())


def _proxy_for(url: str) -> str | None:
    """What http_proxy, https_proxy, all_proxy and no_proxy say, in small or capital letters."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies_environment, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies_environment()
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def _battery(supplies: Path) -> int | None:
    # The lowest battery counts; a machine on mains may have none.
    levels = [
        _first_line(supply / "capacity")
        for supply in (sorted(supplies.iterdir()) if supplies.is_dir() else ())
        if _first_line(supply / "type") == "Battery"
    ]
    numbers = [int(level) for level in levels if level.isascii() and level.isdigit()]
    return min(numbers) if numbers else None


def _run_hook(program: Path, words: bytes, seconds: float) -> HookResult:
    # A session of its own, so that what the hook started ends with it.
    try:
        hook = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return HookResult(126, f"cannot be run: {error.strerror}")
    with hook:
        try:
            output, _ = hook.communicate(words, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(hook.pid, signal.SIGKILL)
            return HookResult(None, f"did not end within {seconds:g} s")
        except BaseException:  # we are to end: so is it
            os.killpg(hook.pid, signal.SIGKILL)
            raise
    return HookResult(hook.returncode, output[:_HOOK_OUTPUT_BYTES].decode("utf-8", "replace").strip())


def _post(address: str, body: bytes, seconds: float) -> None:
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object, **__: object) -> None:
            """A redirected POST would become a GET: nobody would have the bytes."""

    headers = {"Content-Type": "application/octet-stream", "User-Agent": "deltaseal"}
    try:
        request = urllib.request.Request(address, body, headers, method="POST")
        with urllib.request.build_opener(NoRedirect).open(request, timeout=seconds) as answer:
            answer.read(_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            raise NetworkError(f"{address} answered {error.code}", address=address) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise NetworkError(f"{address} cannot be reached: {reason}", address=address) from error


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
