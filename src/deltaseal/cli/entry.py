"""The way in: runs a command, and turns however it ends into one line and an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from deltaseal.cli.app import App, EndedBySignal, printable
from deltaseal.cli.root import root
from deltaseal.errors import DeltasealError, UsageError

__all__ = ["main", "run"]

_USAGE, _BUG = 2, 1
_STDOUT = 1
_COMPLETING = "_DELTASEAL_COMPLETE"  # set by the completion scripts
_ENDING = (signal.SIGTERM, signal.SIGHUP)


def main() -> NoReturn:
    """Run the command line of this process, and end it."""
    for number in _ENDING:
        signal.signal(number, _end)
    gc.freeze()  # what is loaded by now stays: to look through it for garbage is lost time
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        click.echo("deltaseal: interrupted; nothing half made is left", err=True)
        _die_of(signal.SIGINT)
    except EndedBySignal as ended:
        with contextlib.suppress(OSError):  # after SIGHUP there may be nobody to tell
            click.echo(f"deltaseal: {ended.words}", err=True)
        _die_of(ended.number)
    except BrokenPipeError:  # whoever read our output has gone; there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        _die_of(signal.SIGPIPE)
    gc.freeze()  # what is left goes with the process
    sys.exit(code)


def run(arguments: Sequence[str], app: App | None = None) -> int:
    """Run one command; returns its exit code. Only signals and a closed output get out."""
    app = app or App()
    try:
        result = root.main(list(arguments), "deltaseal", standalone_mode=False, obj=app)
        return result if isinstance(result, int) else 0
    except DeltasealError as error:
        return _refused(error, app)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.message, err=True)
        return _USAGE
    except click.ClickException as error:
        # The fault may stand before the option: it is looked for where it was typed.
        app.json = app.json or "--json" in arguments
        return _misused(error, app)
    except click.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as ended:
        if ended.code == 1 and _COMPLETING not in os.environ:  # what click makes of a closed output
            raise BrokenPipeError from ended
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        from deltaseal.storage.disk import translate

        return _refused(translate(error, "use", str(error.filename or "a file")), app, cause=error)
    except Exception as error:
        return _bug(error, app)


def _refused(error: DeltasealError, app: App, *, cause: BaseException | None = None) -> int:
    if app.debug:
        _show_trace(cause or error)
    if app.json:
        app.put_json({"error": error.to_json()})
    hint = f" (hint: {error.hint})" if error.hint else ""
    click.echo(printable(f"deltaseal: {error.reason}: {error.sentence}{hint}"), err=True)
    return error.exit_code


def _misused(error: click.ClickException, app: App) -> int:
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path if ctx else "deltaseal"
    return _refused(UsageError(error.format_message().rstrip("."), hint=f"`{command} --help`"), app)


def _bug(error: Exception, app: App) -> int:
    if app.debug:
        _show_trace(error)
    words = f"deltaseal: a bug: {type(error).__name__}: {error}"
    click.echo(printable(f"{words} (hint: please report it, with what --debug prints)"), err=True)
    return _BUG


def _show_trace(error: BaseException) -> None:
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise EndedBySignal(number)


def _die_of(number: int) -> NoReturn:
    # Ended by the signal itself, as whoever started us expects to see.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)
