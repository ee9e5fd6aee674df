"""The options that commands share, and the kinds of value they take.

A command is put together like this, and holds nothing else at the top of its file:

    @click.command(epilog=example("infrender frobnicate IN OUT"))
    @click.argument("out", type=FILE)
    @model_option
    @quiet_option
    def frobnicate(out, model, quiet): '''Frobnicate a picture.'''

Its heavy imports stand inside the function. Progress goes through `console.follow`, the summary
through `console.summary`, and what may be stopped stands under `kept_on_stop`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from infinite_render.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
_MOST = 2**63 - 1  # where no other limit is: what arithmetic can hold
_PLANE_PX = 2**41  # from one end of the plane to the other; plan.py is too heavy for a help text
DEFAULT_MODEL = "landscape"  # as in models.py, which is too heavy for a help text


class Whole(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click alone
    """A whole number within bounds; `unit` and `such_as` go into the words of its error.

    Where there is no `most`, `limit` is what can be reckoned with, named to who goes beyond it.
    """

    name = "integer"

    def __init__(
        self,
        least: int,
        most: int | None = None,
        such_as: int = 1,
        unit: str = "",
        limit: int = _MOST,
    ) -> None:
        self.least, self.most, self.such_as, self.limit = least, most, such_as, limit
        self.unit = f" of {unit}" if unit else ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        allowed = f"{self.least} or more" if self.most is None else f"{self.least}..{self.most}"
        most = self.limit if self.most is None else self.most
        try:
            number = int(str(value))
        except ValueError:  # no number, or one of more digits than int takes
            number = most + 1 if str(value).isdecimal() else self.least - 1
        if self.least <= number <= most:
            return number
        if number > most and self.most is None:
            allowed += f" and {most} at most"
        raise UsageError(
            f"{_name(param)} {value} is not a whole number{self.unit}, {allowed}; "
            f"try {self.such_as}"
        )


class Pair(click.ParamType):  # type: ignore[type-arg]
    """Two whole numbers, `Y,X` or in another order, of either sign."""

    def __init__(self, name: str = "Y,X") -> None:
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            first, second = map(int, str(value).split(","))
        except ValueError:
            raise UsageError(
                f"{_name(param)} {value} is not two whole numbers {self.name}; try 0,0"
            ) from None
        return first, second


def _name(param: click.Parameter | None) -> str:
    return "value" if param is None else param.opts[-1]


def example(*lines: str) -> str:
    """The end of a command's help: commands that can be run as they stand."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """click.option whose type is known to be kept."""
    decorate: Callable[[Command], Command] = click.option(*names, **settings)
    return decorate


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


SIZE = Whole(1, such_as=1024, unit="pixels", limit=_PLANE_PX)
model_option = option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|DIR",
    help="A model under models/, or the path of a model folder.",
)
seed_option = option(
    "--seed",
    type=Whole(0, 2**64 - 1),
    default=0,
    show_default=True,
    help="Which plane: a whole number from 0.",
)
workers_option = option(
    "--workers",
    type=Whole(1, 4096, such_as=2),
    default=None,
    help="Cells painted at a time; the bits do not depend on it.  [default: the number of cores]",
)
truncation_option = option(
    "--truncation",
    type=float,
    default=None,
    metavar="PSI",
    help="0 to 1: nearer to 0 the pictures are surer and more alike.  [default: the model's own]",
)
device_option = option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
precision_option = option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="auto: bfloat16 where the machine has it natively, float32 elsewhere.",
)
overwrite_option = option(
    "--overwrite", is_flag=True, help="Replace what stands under the name of the output."
)
quality_option = option(
    "--quality",
    type=Whole(1, 100, such_as=90),
    default=90,
    show_default=True,
    help="Of what is lossy, 1 to 100.",
)
compression_option = option(
    "--compression",
    default="jpeg",
    show_default=True,
    help="Of a TIFF: jpeg, webp, deflate or none.",
)
quiet_option = option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")


@contextlib.contextmanager
def kept_on_stop(line: str | Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C end the command with `line`, which says what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(line if isinstance(line, str) else line()) from None
