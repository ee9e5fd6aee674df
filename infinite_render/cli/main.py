"""The command `infrender`: finds a command, runs it, and ends with one line and an exit code.

    0    done
    1    the run or the machine failed (a full disk, a bug: then with its traceback)
    2    a mistake of the input: one line that says what is allowed, and nothing was written
    130  stopped by Ctrl-C or SIGTERM: one line that says what is kept

A command NAME is the click command `name` in `cli/name.py`, imported when it is asked for; what is
heavy is imported inside it, so that help answers at once. It raises errors of `errors.py` and
leaves their words to this file.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

import click

from infinite_render.errors import InfrenderError, nearest
from infinite_render.version import package_version

COMMANDS = (
    "generate",
    "outpaint",
    "inbetween",
    "export",
    "info",
    "import-model",
    "train",
    "train-detail",
    "evaluate",
    "bench",
)
STOPPED = 130
# What the machine may refuse at any moment, whatever was checked before.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO}


class Commands(click.Group):
    """The commands by name, imported one by one, and the words their errors end with."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(
            importlib.import_module(f"infinite_render.cli.{name}"), name
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            known = ", ".join(COMMANDS)
            ctx.fail(f"no command {args[0]!r}{nearest(args[0], COMMANDS)}; known: {known}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _terminated_as_interrupted():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:  # here, before click makes an exit code 1 of it
            logging.getLogger("asyncio").disabled = True  # zarr's loop, cut short, would complain,
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            say(str(stop) or "stopped")
            ctx.exit(STOPPED)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "infrender",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            code: Any = run()
        except InfrenderError as error:
            _end(str(error), error.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _end(_one_line(error), error.exit_code)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            where = f": {error.filename}" if error.filename else ""
            _end(f"{error.strerror}{where}; mend that, and the same command goes on", 1)
        sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM, by which a cluster ends a job, as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():  # which alone has signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(line: str) -> None:
    """One line for the user, where it does not mix with results."""
    click.echo(f"infrender: {line}", err=True)


def _end(line: str, code: int) -> NoReturn:
    say(" ".join(line.split()))
    sys.exit(code)


def _one_line(error: click.ClickException) -> str:
    """What click says in four lines: what was wrong, and where help is."""
    line = error.format_message().rstrip(".")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        line += f"; see {error.ctx.command_path} --help"
    return line[0].lower() + line[1:]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="infrender")
def main() -> None:
    """Paint pictures without edges: to any size, with the same bits whatever the tiling.

    \b
    Example:
      infrender generate --width 4096 --height 1024 wall.tif
    """
