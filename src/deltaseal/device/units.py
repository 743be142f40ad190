"""The systemd units of a device: looking for improvements by a timer, and the rescue at boot.

Pure text; whoever installs the system puts it where systemd looks (systemd.unit(5), systemd.exec(5)).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["systemd_units"]

_WATCH = """\
[Unit]
Description=Look for improvements of system software
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command}
# Held or not allowed, battery too low, no network, another updater at work, stopped: no failure of it.
SuccessExitStatus=20 23 24 26 27
Nice=10
IOSchedulingClass=idle
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
ReadWritePaths={paths}
"""

_TIMER = """\
[Unit]
Description=Look for improvements of system software, every {every} minutes

[Timer]
# Soon after a boot: an improvement that waited for the restart is confirmed then.
OnBootSec=2min
OnUnitActiveSec={every}min
RandomizedDelaySec={delay}min

[Install]
WantedBy=timers.target
"""

_RESCUE = """\
[Unit]
Description=Leave an improvement that nobody could confirm in four boots
DefaultDependencies=no
RequiresMountsFor={store}
After=systemd-remount-fs.service
Before=sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={command}

[Install]
WantedBy=sysinit.target
"""


def systemd_units(
    *,
    program: Path,
    rescue: Path,
    store: Path,
    sources: Sequence[str],
    every: int,
    report_to: Sequence[str] = (),
) -> dict[str, str]:
    """The units' files by name. ``every`` in minutes; all paths are absolute, sources may be URLs.

    ``report_to``: addresses and folders that get the device's reports.
    """
    asked = [str(program), "device", "watch", "--once", "--store", str(store)]
    asked += [word for source in sources for word in ("--source", source)]
    asked += [word for address in report_to for word in ("--report-to", address)]
    written = [str(store), *(address for address in report_to if "://" not in address)]
    watch = _WATCH.format(command=_command(asked), paths=" ".join(map(_quoted, written)))
    return {
        "deltaseal-rescue.service": _RESCUE.format(
            command=_command([str(rescue), str(store)]), store=_quoted(str(store))
        ),
        "deltaseal-watch.service": watch,
        "deltaseal-watch.timer": _TIMER.format(every=every, delay=max(1, every // 6)),
    }


def _command(words: Sequence[str]) -> str:
    return " ".join(_quoted(word.replace("$", "$$")) for word in words)


def _quoted(word: str) -> str:
    """A word as a unit file takes it: systemd.syntax(7), Quoting; ``%`` begins a specifier."""
    plain = word.replace("%", "%%")
    if plain and all(char.isalnum() or char in "/-_.,:=+@%" for char in plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
