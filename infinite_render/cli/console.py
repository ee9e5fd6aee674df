"""Owns what the user sees: one progress bar, tables, one summary line. The only file that draws.

Results go to standard output, progress and notices to standard error. On a terminal there is one
bar; elsewhere a plain line now and then; with `quiet` nothing.

What a library yields while it works is a dataclass or a named tuple, and its field names say how
it is drawn, so that one function draws them all:

    done, total     a bar: `done_px` / `total_px`, `done` / `total`, `images` / `total` ...
    phase           the bar's name; a new phase begins a new bar
    kept_px         what was there before: it does not count in the rate
    terms           figures beside the bar, name -> value
    notice, text    a line, shown once
    anything else   a line: the event's name and its fields
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

PLAIN_EVERY_S = 20.0

Event = TypeVar("Event")


class Step(NamedTuple):
    """An event as it is drawn: a bar at `done` of `total` in `unit`, and a line."""

    phase: str = ""
    done: float = 0
    total: float = 0
    unit: str = ""
    kept: float = 0
    beside: str = ""
    line: str = ""


def step_of(event: Any, phase: str = "") -> Step:
    """Read an event by its field names; `phase` names a Progress that does not name itself.

    >>> from collections import namedtuple
    >>> step_of(namedtuple("Reading", "done total left_out")(3, 9, 1))[:4]
    ('reading', 3, 9, '')
    >>> step_of(namedtuple("Saved", "images")(4000)).line
    'saved: images 4000'
    """
    values = _fields(event)
    kind = type(event).__name__
    phase = str(values.get("phase") or (kind == "Progress" and phase) or _words(kind))
    line = str(values.get("notice") or values.get("text") or "")
    total = next((name for name in values if name.split("_")[0] == "total"), None)
    if total is None:
        told = ", ".join(f"{name.replace('_', ' ')} {_said(v)}" for name, v in values.items())
        return Step(line=line or f"{phase}: {told}")
    unit = total.partition("_")[2]
    done = next(name for name in (f"done_{unit}", "done", *values) if name in values)
    scale, named = (1e-6, "Mpx") if unit == "px" else (1, unit or done.replace("done", ""))
    terms = values.get("terms") or {}
    return Step(
        phase=phase,
        done=values[done] * scale,
        total=values[total] * scale,
        unit=named,
        kept=values.get(f"kept_{unit}", 0) * scale,
        beside=" ".join(f"{name} {_said(value)}" for name, value in terms.items()),
        line=line,
    )


def follow(events: Iterable[Event], phase: str = "", *, quiet: bool = False) -> Event | None:
    """Run `events` to their end while drawing them; the last one, or None when there was none.

    phase is the name of the bar, for events that do not say it themselves.
    """
    last: Event | None = None
    with contextlib.ExitStack() as stack:
        stack.callback(getattr(events, "close", lambda: None))
        bar = stack.enter_context(_chosen(quiet))
        for last in events:
            bar.draw(step_of(last, phase))
    return last


def summary(line: str, *, quiet: bool = False) -> None:
    """The one line a command ends with."""
    if not quiet:
        print(line)


def notice(line: str, *, quiet: bool = False) -> None:
    """A line the user should see before the work begins."""
    if not quiet:
        print(line, file=sys.stderr)


def table(rows: Sequence[tuple[str, object]], *, title: str = "") -> None:
    """Names and values: a table on a terminal, else one `name: value` a line."""
    if not sys.stdout.isatty():
        for name, value in [("", title)] * bool(title) + list(rows):
            print(f"{name}: {value}" if name else value)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title or None, show_header=False, title_justify="left", box=None)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(Text(name), Text(str(value)))
    Console().print(grid)


def columns(rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """A heading and rows of as many cells: a table on a terminal, else cells parted by tabs."""
    if not sys.stdout.isatty():
        for row in [[title]] * bool(title) + list(rows):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title or None, title_justify="left", box=None)
    for index, name in enumerate(rows[0]):
        grid.add_column(Text(name), justify="right" if index else "left")
    for row in rows[1:]:
        grid.add_row(*map(Text, row))
    Console().print(grid)


class _Silent:
    """Draws nothing."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def draw(self, step: Step) -> None:
        """Draw nothing."""


class _Plain(_Silent):
    """A line when a phase begins, and then one now and then, with the rate since it began."""

    def __init__(self) -> None:
        self._phase, self._next_s = "", 0.0
        self._began_s, self._began_at = 0.0, 0.0

    def draw(self, step: Step) -> None:
        if step.line:
            notice(step.line)
        now = time.monotonic()
        if not step.total or (step.phase == self._phase and now < self._next_s):
            return
        if step.phase != self._phase:
            self._phase, self._began_s, self._began_at = step.phase, now, step.done
        self._next_s = now + PLAIN_EVERY_S
        kept = f", {step.kept:.1f} {step.unit} kept" if step.kept else ""
        beside = f" ({step.beside})" if step.beside else ""
        notice(f"{step.phase}: {_of(step)}{kept}{self._pace(step, now)}{beside}")

    def _pace(self, step: Step, now: float) -> str:
        """Rate and time left, once there is something to tell them from."""
        from tqdm import tqdm

        done, took_s = step.done - self._began_at, now - self._began_s
        if done <= 0 or took_s <= 0:
            return ""
        left = tqdm.format_interval(took_s * (step.total - step.done) / done)
        rate = f"{done / took_s:.3g} {step.unit}".rstrip()
        return f", {rate}/s, {left} left"


class _Bar(_Silent):
    """One tqdm bar, begun anew at every phase."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def draw(self, step: Step) -> None:
        from tqdm import tqdm

        if step.line:
            tqdm.write(step.line, file=sys.stderr)
        if not step.total:
            return
        if self._bar is None or step.phase != self._phase:
            self.__exit__()
            self._phase = step.phase
            number = ".1f" if step.unit == "Mpx" else ".0f"
            self._bar = tqdm(
                total=step.total,
                initial=step.done,
                desc=step.phase,
                unit=f" {step.unit}" if step.unit else "",
                bar_format="{desc} {percentage:3.0f}% |{bar}| "
                f"{{n:{number}}} of {{total:{number}}}{{unit}}, "
                "{rate_fmt}, {remaining} left{postfix}",
                smoothing=0,  # blocks come in bursts; the mean is what tells the time left
                dynamic_ncols=True,
                leave=False,
                file=sys.stderr,
            )
        self._bar.set_postfix_str(step.beside, refresh=False)
        self._bar.n = step.done
        self._bar.refresh()


def _chosen(quiet: bool) -> _Silent:
    if quiet:
        return _Silent()
    return _Bar() if sys.stderr.isatty() else _Plain()


def _fields(event: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(event):
        return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    if hasattr(event, "_asdict"):
        return dict(event._asdict())
    if isinstance(event, Mapping):
        return dict(event)
    return {"text": event}


def _words(name: str) -> str:
    """A class's name as words: `BlockDone` is "block done"."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _said(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _of(step: Step) -> str:
    number = ".1f" if step.unit == "Mpx" else ".0f"
    return f"{step.done:{number}} of {step.total:{number}} {step.unit}".rstrip()
