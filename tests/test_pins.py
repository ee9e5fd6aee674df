"""Pins: kept in a file, moved over the plane, laid over another field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infinite_render.errors import DataError
from infinite_render.fields.latents import SeededLatents, points_of
from infinite_render.fields.pins import Pin, PinnedLatents, load_pin, save_pin
from infinite_render.geometry import Window

LAYERS = 4  # two blocks: a cell is 4 px of depth 0
SOMEWHERE = Window(-3, 5, 6, 7)


def some_pin(seed: int = 0, window: Window = SOMEWHERE) -> Pin:
    numbers = np.random.default_rng(seed)
    windows = tuple(Window(*(n * points_of(layer) for n in window)) for layer in range(LAYERS))

    def normal(*shape: int) -> np.ndarray:
        return numbers.standard_normal(shape, np.float32)

    return Pin(
        model_digest="0" * 64,
        depth=1,
        size_px=(17, 21),
        place_px=(-8, 48),
        shift_cell=(2.5, -40.0),
        z_global=normal(5),
        styles=normal(5, 5),
        z_local=normal(3, *window[2:]),
        z_window=window,
        noise=tuple(normal(*part[2:]) for part in windows),
        noise_windows=windows,
    )


def test_a_saved_pin_is_the_same_pin(tmp_path: Path) -> None:
    pin = some_pin()
    save_pin(tmp_path / "a.pin", pin)
    read = load_pin(tmp_path / "a.pin")
    assert read.digest == pin.digest
    assert read.describe() == pin.describe()
    np.testing.assert_array_equal(read.z_local, pin.z_local)
    assert read.noise_windows == pin.noise_windows
    assert [path.name for path in tmp_path.iterdir()] == ["a.pin"]


@pytest.mark.parametrize(
    "change",
    [
        {"place_px": (0, 48)},
        {"shift_cell": (2.5, -40.5)},
        {"model_digest": "1" * 64},
        {"z_global": np.zeros(5, np.float32)},
        {"noise": some_pin(1).noise},
    ],
)
def test_whatever_differs_shows_in_the_digest(change: dict[str, object]) -> None:
    assert replace(some_pin(), **change).digest != some_pin().digest  # type: ignore[arg-type]


def test_a_pin_that_is_moved_takes_windows_and_coordinates_with_it() -> None:
    pin = some_pin()
    moved = pin.moved((3, -5))
    assert pin.cell_px == 8  # 4 px of depth 0
    assert moved.place_px == (-8 + 24, 48 - 40)
    assert moved.window_px == Window(16, 8, 17, 21)
    assert moved.z_window == Window(0, 0, 6, 7)
    assert [window[:2] for window in moved.noise_windows] == [(0, 0)] * LAYERS
    # Whatever cell a latent moved to, its coordinates are those it was inverted with.
    for axis in (0, 1):
        before = pin.z_window[axis] + pin.shift_cell[axis]
        assert moved.z_window[axis] + moved.shift_cell[axis] == before
    assert moved.digest != pin.digest
    assert moved.moved((-3, 5)).digest == pin.digest
    assert pin.moved((1, 2)).moved((2, -7)).digest == moved.digest


def test_pinned_latents_are_the_pin_s_inside_and_the_seed_s_outside() -> None:
    pin, seeded = some_pin(), SeededLatents(7)
    field = PinnedLatents(seeded, (pin,))
    around = Window(-10, -2, 20, 25)
    z_local = field.z_local(around, 3)
    rows, columns = pin.z_window.within(around)
    np.testing.assert_array_equal(z_local[:, rows, columns], pin.z_local)
    expected = seeded.z_local(around, 3)
    assert not (expected == z_local)[:, rows, columns].any()
    expected[:, rows, columns] = pin.z_local
    np.testing.assert_array_equal(z_local, expected)
    for layer, window in enumerate(pin.noise_windows):
        np.testing.assert_array_equal(field.texture_noise(layer, window), pin.noise[layer])
    np.testing.assert_array_equal(field.z_global(5), pin.z_global)
    far = Window(100, 0, 4, 4)
    np.testing.assert_array_equal(field.z_local(far, 3), seeded.z_local(far, 3))
    np.testing.assert_array_equal(field.detail_noise(1, around), seeded.detail_noise(1, around))


def test_a_window_of_a_pinned_window_is_that_window() -> None:
    field = PinnedLatents(SeededLatents(7), (some_pin(), some_pin(1, Window(0, 8, 5, 9))))
    whole = Window(-12, -4, 40, 50)
    latents = field.z_local(whole, 3)
    noise = [field.texture_noise(layer, whole) for layer in range(LAYERS)]
    numbers = np.random.default_rng(3)
    for _ in range(20):
        y, x = numbers.integers(0, 30), numbers.integers(0, 40)
        part = Window(whole.y + int(y), whole.x + int(x), *map(int, numbers.integers(1, 10, 2)))
        rows, columns = part.within(whole)
        np.testing.assert_array_equal(field.z_local(part, 3), latents[:, rows, columns])
        for layer in range(LAYERS):
            np.testing.assert_array_equal(
                field.texture_noise(layer, part), noise[layer][rows, columns]
            )


def test_where_pins_overlap_the_later_one_holds() -> None:
    first, second = some_pin(), some_pin(1)
    field = PinnedLatents(SeededLatents(7), (first, second))
    np.testing.assert_array_equal(field.z_local(first.z_window, 3), second.z_local)
    turned = PinnedLatents(SeededLatents(7), (second, first))
    assert field.describe() != turned.describe()
    assert field.describe()["seed"] == 7


def damaged(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def foreign(path: Path) -> None:
    path.write_bytes(b"\x89PNG and no pin at all")


def ill_fitting(path: Path) -> None:
    save_pin(path, replace(some_pin(), z_window=Window(0, 0, 2, 2)))


def not_finite(path: Path) -> None:
    save_pin(path, replace(some_pin(), z_global=np.full(5, np.nan, np.float32)))


@pytest.mark.parametrize("spoil", [damaged, foreign, ill_fitting, not_finite, Path.unlink])
def test_a_file_that_is_no_pin_is_named_on_one_line(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "photo.pin"
    save_pin(path, some_pin())
    assert callable(spoil)
    spoil(path)
    with pytest.raises(DataError) as caught:
        load_pin(path)
    assert "\n" not in str(caught.value)
    assert "photo.pin" in str(caught.value)
    assert caught.value.exit_code == 2
