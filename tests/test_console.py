"""One function draws whatever a library yields: by a bar, by plain lines, or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tqdm

from infinite_render.cli import console
from infinite_render.rendering import canvas, exports
from infinite_render.training import events


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(events: Iterable[object], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal is sent while events are followed."""
    stream = Terminal()
    monkeypatch.setenv("COLUMNS", "100")
    with monkeypatch.context() as patch:  # not in a fixture: pytest would put its own back
        patch.setattr("sys.stderr", stream)
        console.follow(events)
    return stream.getvalue()


def painting(kept_px: int = 0) -> Iterator[canvas.Progress]:
    """A canvas of ten million pixels, a tenth at a time."""
    for done_px in range(kept_px, 10_000_001, 1_000_000):
        yield canvas.Progress("painting", done_px, 10_000_000, kept_px)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            canvas.Progress("painting", 3_000_000, 9_500_000, 1_000_000),
            console.Step("painting", 3, 9.5, "Mpx", 1),
        ),
        (exports.Progress(512, 4096), console.Step("writing", 512, 4096)),
        (events.Reading(3, 9, 1), console.Step("reading", 3, 9)),
        (
            events.Progress(640, 2000, 31.0, 44.0, {"g": 0.51234, "d": 1.0}),
            console.Step("writing", 640, 2000, "images", beside="g 0.5123 d 1"),
        ),
        (events.Notice("the cache is new"), console.Step(line="the cache is new")),
        (events.Saved(64, Path("a")), console.Step(line="saved: images 64, folder a")),
        (events.Quality(64, 31.25), console.Step(line="quality: images 64, value 31.25")),
        ("a line", console.Step(line="a line")),
    ],
)
def test_events_are_read_by_the_names_of_their_fields(event: object, expected: object) -> None:
    step = console.step_of(event, "writing")
    assert step == pytest.approx(expected) if step.total else step == expected


def test_a_terminal_shows_one_bar_with_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = shown(painting(), monkeypatch)
    for words in ("painting   0%", "100%", "10.0 of 10.0 Mpx", "Mpx/s", " left"):
        assert words in said
    assert "\n" not in said.strip("\n\r")  # the bar stays on its line, and is wiped at the end


def test_what_was_kept_does_not_count_in_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[object] = []
    bar = tqdm.tqdm

    def watched(**settings: Any) -> Any:
        began.append(settings["initial"])
        return bar(**settings)

    monkeypatch.setattr("tqdm.tqdm", watched)
    shown(painting(kept_px=4_000_000), monkeypatch)
    assert began == [4.0]


def test_a_notice_stands_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def noticed() -> Iterator[canvas.Progress]:
        yield from painting()
        yield canvas.Progress("checking", 1, 1, notice="block (0, 1) is damaged")

    assert "block (0, 1) is damaged\n" in shown(noticed(), monkeypatch)


def test_elsewhere_lines_are_plain_and_few(capsys: pytest.CaptureFixture[str]) -> None:
    console.follow(painting())
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "painting: 0.0 of 10.0 Mpx\n"


def test_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 1000, 7))
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    console.follow(painting(kept_px=1_000_000))
    assert capsys.readouterr().err.splitlines() == [
        "painting: 1.0 of 10.0 Mpx, 1.0 Mpx kept",
        "painting: 4.0 of 10.0 Mpx, 1.0 Mpx kept, 0.143 Mpx/s, 00:42 left",
        "painting: 7.0 of 10.0 Mpx, 1.0 Mpx kept, 0.143 Mpx/s, 00:21 left",
        "painting: 10.0 of 10.0 Mpx, 1.0 Mpx kept, 0.143 Mpx/s, 00:00 left",
    ]


def test_quiet_draws_nothing_and_still_runs(capsys: pytest.CaptureFixture[str]) -> None:
    last = console.follow(painting(), quiet=True)
    assert last is not None
    console.summary("done", quiet=True)
    console.notice("careful", quiet=True)
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_an_iterator_that_breaks_off_is_closed() -> None:
    closed = []

    def breaking() -> Iterator[canvas.Progress]:
        try:
            yield canvas.Progress("painting", 0, 1)
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt):
        console.follow(breaking(), quiet=True)
    assert closed == [True]


def test_an_event_that_names_nothing_known_is_told_whole() -> None:
    class Compared(NamedTuple):
        seam_ratio: float
        pair: str

    @dataclass
    class Odd:
        values: list[int] = field(default_factory=lambda: [1, 2])

    assert console.step_of(Compared(1.00001, "a")).line == "compared: seam ratio 1, pair a"
    assert console.step_of(Odd()).line == "odd: values [1, 2]"


def test_a_table_is_plain_lines_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    console.table([("seed", 7), ("model", "[bold]x")], title="a picture")
    assert capsys.readouterr().out == "a picture\nseed: 7\nmodel: [bold]x\n"


def test_a_table_on_a_terminal_does_not_read_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "dumb")
    console.table([("seed", 7), ("model", "[bold]x")], title="a picture")
    assert "[bold]x" in stream.getvalue()
