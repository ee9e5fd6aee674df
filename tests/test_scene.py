"""The contract of rendering: one plane, one hash, whatever the window, the workers and the past."""

from __future__ import annotations

import hashlib
import os
import platform
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SMALL, SMALL_DETAIL, random_model

from infinite_render.errors import ModelError, UsageError
from infinite_render.fields.latents import SeededLatents
from infinite_render.geometry import (
    Window,
)
from infinite_render.pixels import to_uint8
from infinite_render.precision import choose_precision, has_native_bfloat16
from infinite_render.rendering.scene import Picture, Scene
from infinite_render.rendering.workers import SingleThreads, choose_device

EDGE = 2**40
PRECISIONS = ["float32", "bfloat16"]
FAR = [(0, 0), (10**12, -(10**12)), (-(10**12), 10**12), (EDGE - 256, -EDGE), (-EDGE, EDGE - 256)]


def digest(picture: Picture) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


def scene(precision: str = "float32", seed: int = 3) -> Scene:
    """A scene that has rendered nothing yet."""
    return Scene(model(), seed=seed, precision=precision)


@cache
def model():  # type: ignore[no-untyped-def]
    return random_model()


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """A caller whose torch uses two threads, which must neither matter nor change."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 2


# The plane


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("y", "x"), FAR)
def test_a_window_of_a_window_is_that_window(y: int, x: int, precision: str) -> None:
    """Of 2 x 2 blocks: random parts, and parts that begin and end on every border of a cell."""
    whole = scene(precision).render(y, x, 256, 256)
    drawn = random.Random(f"{y} {x} {precision}")
    parts = [Window(63, 63, 2, 2), Window(127, 0, 2, 256), Window(64, 128, 64, 128)]
    parts += [Window(0, 0, 1, 1), Window(255, 255, 1, 1), Window(192, 64, 64, 64)]
    for _ in range(6):
        top, left = drawn.randrange(256), drawn.randrange(256)
        parts.append(Window(top, left, drawn.randint(1, 256 - top), drawn.randint(1, 256 - left)))
    other = scene(precision)
    for part in parts:
        got = other.render(y + part.y, x + part.x, part.height, part.width, workers=2)
        expected = whole[part.y : part.y + part.height, part.x : part.x + part.width]
        assert np.array_equal(got, expected), part


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_hash_for_any_number_of_workers(precision: str) -> None:
    window = (-200, 100, 400, 420)
    hashes = {digest(scene(precision).render(*window, workers=n)) for n in (1, 2, 3, 5, 16)}
    assert len(hashes) == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_was_rendered_before_does_not_matter(precision: str) -> None:
    """Blocks come from those kept and from those forgotten, in any order."""
    windows = [(64 * i - 300, 50 * i - 300, 130, 130) for i in range(10)]
    expected = [digest(scene(precision).render(*window)) for window in windows]
    busy = scene(precision)
    for seed in range(3):
        order = random.Random(seed).sample(range(10), 10)
        assert [digest(busy.render(*windows[i], workers=2)) for i in order] == [
            expected[i] for i in order
        ]


def test_threads_that_share_a_scene_get_its_plane() -> None:
    windows = [(100 * i - 250, 90 * i - 250, 200, 150) for i in range(6)]
    expected = [digest(scene().render(*window)) for window in windows]
    shared = scene()
    with ThreadPoolExecutor(4) as callers:
        for _ in range(2):
            got = callers.map(lambda window: digest(shared.render(*window, workers=2)), windows)
            assert list(got) == expected


def test_scenes_that_share_a_model_leave_it_as_it_was() -> None:
    before = model().digest
    first = digest(scene().render(0, 0, 100, 100))
    half = digest(scene("bfloat16").render(0, 0, 100, 100))
    other = digest(scene(seed=4).render(0, 0, 100, 100))
    assert len({first, half, other}) == 3
    assert digest(scene().render(0, 0, 100, 100)) == first
    assert digest(scene("bfloat16").render(0, 0, 100, 100)) == half
    assert random_model().digest == before


PRINT_HASH = """
import hashlib, sys
import torch
from small_models import random_model
from infinite_render.rendering.scene import (Scene)
if sys.argv[1] != "0":
    torch.set_num_threads(int(sys.argv[1]))
for precision in ("float32", "bfloat16"):
    scene = Scene(random_model(), seed=3, precision=precision)
    print(hashlib.sha256(scene.render(-70, -70, 140, 140, workers=2).tobytes()).hexdigest())
"""


@pytest.mark.parametrize(("environment", "caller"), [("1", 0), ("2", 4), ("5", 1)])
def test_another_process_renders_the_same_bits(environment: str, caller: int) -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", PRINT_HASH, str(caller)],
        env={
            **os.environ,
            "OMP_NUM_THREADS": environment,
            "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
        },
        check=True,
        capture_output=True,
        text=True,
    )
    expected = [digest(scene(precision).render(-70, -70, 140, 140)) for precision in PRECISIONS]
    assert done.stdout.split() == expected


def test_the_settings_of_the_caller_do_not_matter() -> None:
    expected = digest(scene().render(-70, -70, 140, 140))
    try:
        torch.set_flush_denormal(True)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            assert digest(scene().render(-70, -70, 140, 140)) == expected
        torch.set_default_dtype(torch.float64)
        assert digest(scene().render(-70, -70, 140, 140)) == expected
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_flush_denormal(False)


def test_seeds_and_places_differ() -> None:
    pictures = [scene(seed=seed).render(y, x, 64, 64) for seed in (0, 1, -1) for y, x in FAR[:3]]
    assert len({digest(picture) for picture in pictures}) == 9
    for picture in pictures:
        assert picture.std() > 20
        assert len(np.unique(picture)) > 100
        assert np.isin(picture, (0, 255)).mean() < 0.2


def test_the_plane_closes_on_itself_in_nothing_but_coordinates() -> None:
    """One period on, the coordinates are the same and the latents are not."""
    period_px = SMALL.period_cells * SMALL.stride
    assert digest(scene().render(0, 0, 64, 64)) != digest(scene().render(0, period_px, 64, 64))


# Deeper planes


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("y", "x"), [(-100, 30), (10**12, -(10**12))])
def test_the_contract_holds_at_every_depth(y: int, x: int, depth: int, precision: str) -> None:
    climber = random_model(detail=SMALL_DETAIL)
    whole = Scene(climber, precision=precision).render(y, x, 256, 200, depth=depth, workers=3)
    assert whole.std() > 5
    other = Scene(climber, precision=precision)
    other.render(y, x, 64, 64, depth=depth - 1)
    for part in (Window(0, 0, 1, 1), Window(27, 33, 129, 65), Window(100, 97, 156, 3)):
        got = other.render(y + part.y, x + part.x, part.height, part.width, depth=depth)
        expected = whole[part.y : part.y + part.height, part.x : part.x + part.width]
        assert np.array_equal(got, expected), part


@pytest.mark.parametrize("depth", [-1, 5])
def test_a_depth_the_model_has_not_is_refused(depth: int) -> None:
    with pytest.raises(UsageError, match=f"--depth {depth} is not in 0..4"):
        Scene(random_model(detail=SMALL_DETAIL)).render(0, 0, 1, 1, depth=depth)
    with pytest.raises(UsageError, match="it has no detail ladder"):
        scene().render(0, 0, 1, 1, depth=1)


# Threads


def test_a_thread_number_set_meanwhile_does_not_reach_the_workers() -> None:
    """Another render that ends puts its own number back while these workers still run."""
    ready, go = threading.Event(), threading.Event()

    def task() -> int:
        ready.set()
        go.wait()
        torch.ones(10).sum()
        return torch.get_num_threads()

    with SingleThreads(1) as pool:
        seen = pool.submit(task)
        ready.wait()
        torch.set_num_threads(2)
        go.set()
        assert seen.result() == 1


def test_of_two_renders_that_overlap_the_last_puts_the_number_back() -> None:
    first, second = SingleThreads(1), SingleThreads(1)
    with first as pool:
        pool.submit(int).result()
        second.__enter__().submit(int).result()
    assert torch.get_num_threads() == 2
    second.__exit__(None, None, None)


def test_an_error_in_a_worker_ends_the_render_and_restores_the_caller() -> None:
    class Broken(SeededLatents):
        def texture_noise(self, layer: int, window: Window) -> np.ndarray:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Scene(model(), latents=Broken(0), precision="float32").render(0, 0, 300, 300, workers=2)


# Bytes


def test_bfloat16_is_the_same_picture_but_for_rounding() -> None:
    exact = scene("float32").render(0, 0, 128, 128).astype(float)
    half = scene("bfloat16").render(0, 0, 128, 128).astype(float)
    assert np.sqrt(np.square(exact - half).mean()) < 0.05 * exact.std()


def test_grey_levels_are_rounded_to_the_nearest_and_clipped() -> None:
    rgb = torch.tensor([-9.0, -1.0, -0.5, 0.0, 0.5, 1.0, 9.0]).reshape(1, 1, 7).expand(3, 2, 7)
    assert to_uint8(rgb)[1, :, 2].tolist() == [0, 0, 64, 128, 191, 255, 255]
    assert rgb.max() == 9


# Bad input


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ((0, 0, 0, 10), "10 x 0 px is empty"),
        ((0, 0, 10, -1), "-1 x 10 px is empty"),
        ((0.5, 0, 10, 10), "four whole numbers"),
        ((0, 0, "10", 10), "four whole numbers"),
        ((0, None, 10, 10), "four whole numbers"),
        ((EDGE, 0, 1, 1), "leaves the plane"),
        ((0, -EDGE - 1, 10, 10), "leaves the plane"),
        ((0, 0, 1, EDGE + 1), "leaves the plane"),
        ((-EDGE, -EDGE, 2 * EDGE, 2 * EDGE), "memory"),
    ],
)
def test_a_window_that_cannot_be_is_refused_in_one_line(window, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=said) as caught:
        scene().render(*window)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers() -> None:
    small = (np.uint8(200), np.int32(100), np.uint8(100), np.int16(70))
    expected = digest(scene().render(200, 100, 100, 70))
    assert digest(scene().render(*small)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_cannot_paint(workers: int) -> None:
    with pytest.raises(UsageError, match=f"{workers} workers"):
        scene().render(0, 0, 1, 1, workers=workers)


def test_a_model_that_pads_is_not_rendered() -> None:
    padded = random_model(replace(SMALL, padding=True))
    with pytest.raises(ModelError, match="trained but not rendered"):
        Scene(padded)


def test_precisions_and_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="--precision float64 is unknown; use auto, float32 or"):
        scene("float64")
    with pytest.raises(UsageError, match="--device tpu is unknown"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no usable CUDA"):
            choose_device("cuda:0")
    native = "bfloat16" if has_native_bfloat16() else "float32"
    assert choose_precision("auto") == native


@pytest.mark.parametrize(
    "device",
    [
        *("cpu:1", "cpu:0", "cpu:zzz", "cpu:", "CPU", "", "auto", "mps", "tpu:0"),
        *("cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:0:1", "cuda:1.5", "cuda:" + "9" * 5000),
    ],
)
def test_a_device_that_is_none_names_what_is_allowed(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UsageError, match="is unknown; use cpu or cuda, or cuda:N") as caught:
        choose_device(device)
    assert f"--device {device} " in str(caught.value)


def test_a_cuda_device_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn = torch.backends.cudnn
    for name in ("allow_tf32", "deterministic", "benchmark"):  # choosing sets them; put them back
        monkeypatch.setattr(cudnn, name, getattr(cudnn, name))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [choose_device(name) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]
    with pytest.raises(UsageError, match=r"--device cuda:2 is not there; .* cuda:0 to cuda:1$"):
        choose_device("cuda:2")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match=r"cuda:1 is not there; this machine has cuda:0$"):
        choose_device("cuda:1")


def test_the_identity_tells_scenes_apart() -> None:
    one = scene().identity()
    assert one == scene().identity()
    assert one["machine"].split()[0] == platform.machine()
    vectors = {"avx2", "neon"} & {k for k, has in torch.cpu.get_capabilities().items() if has}
    assert vectors <= set(one["machine"].split())
    assert one["seed"] == 3
    assert Scene(model(), seed=-1, precision="float32").identity()["seed"] == 2**64 - 1
    for other in (
        scene(seed=4),
        scene("bfloat16"),
        Scene(random_model(seed=1), seed=3, precision="float32"),
    ):
        assert other.identity() != one
