"""Runs a command and stops after each system call that changes files, or makes changes durable: ptrace(2).

Calls are told apart by number alone (Linux, x86-64 and AArch64: include/uapi/asm-generic/unistd.h and
arch/x86/entry/syscalls/syscall_64.tbl); what a call has changed is seen on the disk, not in its arguments.
All processes that the command starts are followed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deltaseal.errors import UsageError

__all__ = ["Call", "run_traced"]

# ptrace(2): requests and options.
_TRACEME, _CONT_SYSCALL, _SETOPTIONS, _GETEVENTMSG, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x4201, 0x420E
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000  # sysgood, fork, vfork, clone, exec, exitkill
_EVENT_FORKS = (1, 2, 3)
_WALL = 0x40000000
_INFO = struct.Struct("<B3xIQQ7Q")  # struct ptrace_syscall_info: op, arch, ip, sp, then a union
_ENTRY, _EXIT = 1, 2

_O_CREAT_OR_TRUNC = os.O_CREAT | os.O_TRUNC

# Names of calls that change something, by machine.
_CHANGING: Final[Mapping[str, Mapping[int, str]]] = {
    "x86_64": {
        **dict.fromkeys((1, 18, 20, 40, 275, 296, 326, 328, 16, 11, 26, 426), "write"),
        **dict.fromkeys((76, 77, 285), "write"),
        **dict.fromkeys((82, 83, 84, 85, 86, 87, 88, 90, 91, 133), "change"),
        **dict.fromkeys((258, 259, 263, 264, 265, 266, 268, 316, 452), "change"),
        **dict.fromkeys((74, 75), "sync"),
        **dict.fromkeys((162, 306), "sync all"),
        2: "open",
        257: "openat",
    },
    "aarch64": {
        **dict.fromkeys((64, 66, 68, 70, 71, 76, 285, 287, 29, 215, 227, 426), "write"),
        **dict.fromkeys((45, 46, 47), "write"),
        **dict.fromkeys((33, 34, 35, 36, 37, 38, 52, 53, 276, 452), "change"),
        **dict.fromkeys((82, 83), "sync"),
        **dict.fromkeys((81, 267), "sync all"),
        56: "openat",
    },
}


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that has just succeeded, by its kind; of a ``sync`` the path that it was about."""

    kind: str  # write, change, sync, sync all
    path: str


def run_traced(argv: Sequence[str], on_call: Callable[[Call], None]) -> int:
    """Run a command to its end and return its exit status; ``on_call`` hears of each call while all wait.

    Raises ``UsageError`` where system calls cannot be followed.
    """
    calls = _CHANGING.get(platform.machine())
    if calls is None or platform.system() != "Linux":
        raise UsageError(f"system calls cannot be followed on {platform.system()} {platform.machine()}")
    root = os.fork()
    if root == 0:
        _become(argv)
    return _Tracer(root, calls, on_call).run()


def _become(argv: Sequence[str]) -> None:
    try:
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nowhere, fd)
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.execvp(argv[0], list(argv))
    finally:
        os._exit(127)


class _Tracer:
    def __init__(self, root: int, calls: Mapping[int, str], on_call: Callable[[Call], None]) -> None:
        self._root = root
        self._calls = calls
        self._on_call = on_call
        self._alive = {root}
        self._entered: dict[int, tuple[int, tuple[int, ...]]] = {}  # by process: number and arguments
        self._status = 0

    def run(self) -> int:
        os.waitpid(self._root, _WALL)
        try:
            _ptrace(_SETOPTIONS, self._root, _OPTIONS)
        except OSError as error:
            os.kill(self._root, signal.SIGKILL)
            raise UsageError(
                f"system calls cannot be followed here: {os.strerror(error.errno or 0)}"
            ) from error
        _ptrace(_CONT_SYSCALL, self._root)
        while self._alive:
            try:
                pid, status = os.waitpid(-self._root, _WALL)
            except ChildProcessError:
                break
            self._handle(pid, status)
        return self._status

    def _handle(self, pid: int, status: int) -> None:
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            self._alive.discard(pid)
            if pid == self._root:
                self._status = os.waitstatus_to_exitcode(status)
            return
        self._alive.add(pid)
        stopped_by, event, deliver = os.WSTOPSIG(status), status >> 16, 0
        if stopped_by == signal.SIGTRAP | 0x80:
            self._at_call(pid)
        elif event in _EVENT_FORKS:
            self._alive.add(_event_message(pid))
        elif not event and stopped_by not in (signal.SIGSTOP, signal.SIGTRAP):
            deliver = stopped_by
        try:
            _ptrace(_CONT_SYSCALL, pid, deliver)
        except ProcessLookupError:
            self._alive.discard(pid)

    def _at_call(self, pid: int) -> None:
        op, fields = _call_info(pid)
        if op == _ENTRY:
            self._entered[pid] = (fields[0], fields[1:])
        elif op == _EXIT:
            number, arguments = self._entered.pop(pid, (-1, ()))
            failed = fields[0] >> 63  # a negative result
            if number in self._calls and not failed:
                self._tell(pid, self._calls[number], arguments)

    def _tell(self, pid: int, kind: str, arguments: tuple[int, ...]) -> None:
        if kind in ("open", "openat"):
            flags = arguments[1 if kind == "open" else 2]
            if flags & _O_CREAT_OR_TRUNC:
                self._on_call(Call("change", ""))
        elif kind == "sync":
            self._on_call(Call(kind, _link(Path(f"/proc/{pid}/fd/{arguments[0]}"))))
        else:
            self._on_call(Call(kind, ""))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, data: int = 0, address: int = 0) -> int:
    result = int(_libc.ptrace(request, pid, address, data))
    if result < 0:
        number = ctypes.get_errno()
        raise (
            OSError(number, os.strerror(number))
            if number != errno.ESRCH
            else ProcessLookupError(number, "gone")
        )
    return result


def _event_message(pid: int) -> int:
    message = ctypes.c_ulong()
    _ptrace(_GETEVENTMSG, pid, ctypes.addressof(message))
    return int(message.value)


def _call_info(pid: int) -> tuple[int, tuple[int, ...]]:
    buffer = ctypes.create_string_buffer(_INFO.size + 16)
    _ptrace(_GET_SYSCALL_INFO, pid, ctypes.addressof(buffer), len(buffer))
    op, _, _, _, *fields = _INFO.unpack_from(buffer.raw)
    return op, tuple(fields)


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
