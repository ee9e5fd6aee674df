"""The TIFF: every level in it, all of it or nothing, and no tool that cannot open it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pictures import ArrayRows, Pixels, blocks_of, empty, filled, noisy, paint

from infinite_render.errors import OutputError, UnreadableBlocks
from infinite_render.rendering import exports, pyramid
from infinite_render.rendering.bands import Bands
from infinite_render.rendering.exports import open_sink
from infinite_render.rendering.pyramid import Cancelled, StripSource

PICTURE = noisy(1300, 1700)
RECIPE = '{"seed": 7, "model": "s\\u00fc\\u00df \\"one\\""}'


def write(path: Path, picture: Pixels, **options: Any) -> Path:
    open_sink(path, ArrayRows(picture), description=RECIPE, **options).finish()
    return path


def half_up(pixels: Pixels) -> Pixels:
    """Means of 2x2 as libvips rounds them; an odd last row or column is left out."""
    height, width, _ = pixels.shape
    even = pixels[: height // 2 * 2, : width // 2 * 2].astype(int)
    sums = even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]
    return np.asarray((sums + 2) // 4, dtype=np.uint8)


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tiff") / "sea.tif", PICTURE, pixel_size_um=0.25)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 1), (257, 65), (64, 64), (1537, 257)])
@pytest.mark.parametrize("band_rows", [1, 24, 64, 512])
def test_the_made_up_tiff_shows_the_rows_it_is_given(size: tuple[int, int], band_rows: int) -> None:
    picture = noisy(*size)
    source = StripSource(ArrayRows(picture, band_rows))
    assert np.array_equal(source.image().numpy(), picture)
    assert source.rows_read == size[0]


def test_a_vast_header_costs_no_more_than_its_tables() -> None:
    head = pyramid.strip_header(1_000_000, 1_000_000, 64)
    assert len(head) < 16 * (1_000_000 // 64 + 1) + 8192


@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_lossless_levels_are_the_means_of_the_level_below(tmp_path: Path, compression: str) -> None:
    with tifffile.TiffFile(write(tmp_path / "a.tif", PICTURE, compression=compression)) as tiff:
        assert tiff.is_bigtiff
        assert all(page.tile == (512, 512) for page in tiff.pages)
        levels = [page.asarray() for page in tiff.pages]
    expected = PICTURE
    for level in levels:
        assert np.array_equal(level, expected)
        expected = half_up(expected)
    assert len(levels) == 3


@pytest.mark.parametrize("compression", ["jpeg", "webp"])
def test_lossy_levels_are_near_the_picture(tmp_path: Path, compression: str) -> None:
    with tifffile.TiffFile(write(tmp_path / "a.tif", PICTURE, compression=compression)) as tiff:
        for page, expected in zip(tiff.pages, [PICTURE, half_up(PICTURE)], strict=False):
            assert tifffile.COMPRESSION(page.compression).name.lower() == compression
            error = page.asarray().astype(float) - expected
            assert np.sqrt((error**2).mean()) < 9


def test_quality_is_obeyed(tmp_path: Path, jpeg: Path) -> None:
    rough = write(tmp_path / "rough.tif", PICTURE, quality=30)
    assert rough.stat().st_size < jpeg.stat().st_size / 2


def test_every_reader_sees_every_level(jpeg: Path) -> None:
    import openslide
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    shapes = [(1300, 1700), (650, 850), (325, 425)]
    with tifffile.TiffFile(jpeg) as tiff:
        assert [level.shape[:2] for level in tiff.series[0].levels] == shapes
        assert len(tiff.series) == 1
    with openslide.OpenSlide(jpeg) as slide:
        assert slide.level_dimensions == tuple((width, height) for height, width in shapes)
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it is a picture, not a map
        with rasterio.open(jpeg) as dataset:
            assert dataset.shape == shapes[0]
            assert dataset.overviews(1) == [2, 4]
    vips = pyramid.vips()
    pages = [vips.Image.tiffload(str(jpeg), page=page) for page in range(3)]
    assert [(page.height, page.width) for page in pages] == shapes


def test_the_recipe_and_the_size_of_a_pixel_are_in_the_file(tmp_path: Path, jpeg: Path) -> None:
    with tifffile.TiffFile(jpeg) as tiff:
        assert tiff.pages.first.description == RECIPE
        assert tiff.pages.first.get_resolution("MICROMETER") == pytest.approx((4, 4))
    with tifffile.TiffFile(write(tmp_path / "a.tif", PICTURE[:64])) as tiff:
        assert tiff.pages.first.get_resolution("INCH") == pytest.approx((72, 72), rel=1e-4)


def test_a_tiff_written_while_painting_is_that_of_the_finished_store(tmp_path: Path) -> None:
    store = filled(tmp_path / "done.zarr", PICTURE)
    open_sink(tmp_path / "after.tif", Bands(store), description=RECIPE).finish()

    store = empty(tmp_path / "sea.zarr", PICTURE)
    blocks = blocks_of(store)
    random.Random(5).shuffle(blocks)
    paint(store, PICTURE, blocks[:5])  # as a resumed run finds it
    bands = Bands(store)
    sink = open_sink(tmp_path / "during.tif", bands, description=RECIPE)
    for iy, ix in blocks[5:]:
        assert not (tmp_path / "during.tif").exists()
        paint(store, PICTURE, [(iy, ix)])
        bands.block_done(iy)
        sink.check()
    sink.finish()
    assert (tmp_path / "during.tif").read_bytes() == (tmp_path / "after.tif").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "after.tif",
        "done.zarr",
        "during.tif",
        "sea.zarr",
    ]


@pytest.mark.parametrize("band", [0, 1, 13])
def test_the_painters_own_error_comes_out_and_nothing_is_left(tmp_path: Path, band: int) -> None:
    rows = ArrayRows(PICTURE, fails_at=band)
    sink = open_sink(tmp_path / "sea.tif", rows, description=RECIPE)
    with pytest.raises(RuntimeError, match="ladder") as caught:
        sink.finish()
    assert caught.value is rows.error
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="ladder"):
        sink.check()


def test_a_band_of_the_wrong_height_is_an_error_not_a_skewed_picture(tmp_path: Path) -> None:
    rows = ArrayRows(PICTURE)
    rows.height += 100
    with pytest.raises(ValueError, match=r"band 20 is \(20, 1700, 3\)"):
        open_sink(tmp_path / "sea.tif", rows, description=RECIPE).finish()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "sea.tif").write_bytes(b"last week's")
    with pytest.raises(RuntimeError, match="ladder"):
        open_sink(tmp_path / "sea.tif", ArrayRows(PICTURE, fails_at=9), description="").finish()
    assert (tmp_path / "sea.tif").read_bytes() == b"last week's"
    write(tmp_path / "sea.tif", PICTURE)
    assert tifffile.imread(tmp_path / "sea.tif").shape == PICTURE.shape
    assert [file.name for file in tmp_path.iterdir()] == ["sea.tif"]


def test_what_a_killed_run_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".sea.tif.partial").write_bytes(b"half a picture")
    write(tmp_path / "sea.tif", PICTURE)
    assert [file.name for file in tmp_path.iterdir()] == ["sea.tif"]


def test_a_sink_that_waits_for_rows_can_be_cancelled(tmp_path: Path) -> None:
    sink = open_sink(
        tmp_path / "sea.tif", Bands(empty(tmp_path / "sea.zarr", PICTURE)), description=RECIPE
    )
    assert not sink.wait(0.1)
    sink.cancel()
    with pytest.raises(Cancelled):
        sink.check()
    assert [file.name for file in tmp_path.iterdir()] == ["sea.zarr"]


def test_a_sink_that_is_writing_can_be_cancelled(tmp_path: Path) -> None:
    class Endless(ArrayRows):
        """The same band again and again, and word that the first was taken."""

        def __init__(self) -> None:
            super().__init__(PICTURE[:64])
            self.height, self.taken = 10_000_000, threading.Event()

        def read(self, band: int) -> Pixels:
            self.taken.set()
            return super().read(0)

    rows = Endless()
    sink = open_sink(tmp_path / "sea.tif", rows, description=RECIPE)
    assert rows.taken.wait(10)
    time.sleep(0.05)
    sink.cancel()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_block_is_named_and_no_file_is_left(tmp_path: Path) -> None:
    store = filled(tmp_path / "sea.zarr", PICTURE)
    shard = store.shard_path(3, 2)
    shard.write_bytes(shard.read_bytes()[:900] + bytes(99) + shard.read_bytes()[999:])
    with pytest.raises(UnreadableBlocks, match=r"block \(3, 2\) is damaged") as caught:
        open_sink(tmp_path / "sea.tif", Bands(store), description=RECIPE).finish()
    assert caught.value.blocks == ((0, 3, 2),)
    assert [file.name for file in tmp_path.iterdir()] == ["sea.zarr"]


WAIT_FOR_EVER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pictures import *
from infinite_render.rendering.bands import Bands
from infinite_render.rendering.exports import open_sink
folder, picture = Path(sys.argv[1]), noisy(600, 500)
store = empty(folder / "sea.zarr", picture)
paint(store, picture, [(0, 0), (0, 1)])
sink = open_sink(folder / "sea.tif", Bands(store), description="")
print("waiting", flush=True)
sink.finish()
"""


def test_ctrl_c_ends_the_wait_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT_FOR_EVER, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert "VIPS" not in said
    assert [file.name for file in tmp_path.iterdir()] == ["sea.zarr"]


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pictures import *
from infinite_render.errors import OutputError
from infinite_render.rendering.exports import open_sink
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    open_sink(Path(sys.argv[1]) / "sea.tif", ArrayRows(noisy(1300, 1700)), description="").finish()
except OutputError as error:
    print(error)
"""


def test_a_disk_that_fills_up_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(Path(__file__).parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "sea.tif could not be written" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_compression_that_is_not_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="zstd is not known; choose from jpeg, none"):
        write(tmp_path / "a.tif", PICTURE, compression="zstd")
    assert pyramid.tiff_compressions() == pyramid.COMPRESSIONS
    monkeypatch.setattr(pyramid, "tiff_compressions", lambda: ("jpeg", "none"))
    with pytest.raises(OutputError, match="webp is missing from this libvips, which has jpeg"):
        write(tmp_path / "a.tif", PICTURE, compression="webp")
    assert list(tmp_path.iterdir()) == []


def test_a_libvips_that_swallows_errors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pyvips = pyramid.vips()
    monkeypatch.setattr(pyvips, "version", lambda part: (8, 16, 0)[part])
    with pytest.raises(OutputError, match=r"libvips is 8\.16 and 8\.17 is needed"):
        pyramid.vips.__wrapped__()


def test_libvips_keeps_its_levels_beside_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def save(*_: object, **__: object) -> None:
        seen.append(os.environ.get("TMPDIR"))
        raise ZeroDivisionError

    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(exports, "save_tiff", save)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "a.tif", PICTURE)
    assert seen == [str(tmp_path)]
    assert "TMPDIR" not in os.environ
