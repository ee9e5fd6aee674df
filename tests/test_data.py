"""Photographs: every kind of file, what is left out, the cache, and the order of patches."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from landscapes import landscape, toy_recipe, write_landscapes

from infinite_render.errors import DataError
from infinite_render.training import data as module
from infinite_render.training.data import (
    Heights,
    Photographs,
    Prefetched,
    cache_path,
    decode,
    list_photographs,
    listing_difference,
    read_photographs,
)
from infinite_render.training.events import Notice, Reading
from infinite_render.training.recipes import DataConfig, TrainRecipe

HEIGHTS = Heights(DataConfig(image_px=53, zooms=(1.0, 1.1)).heights_px)
PATCH_PX = 29


def read(folder: Path, cache: Path, heights: Heights = HEIGHTS) -> tuple[Photographs, list[str]]:
    listing = list_photographs(folder)
    events = list(read_photographs(folder, listing, heights, PATCH_PX, cache))
    notices = [event.text for event in events if isinstance(event, Notice)]
    return Photographs(cache_path(cache, listing, heights, PATCH_PX), PATCH_PX), notices


def save(image: pyvips.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.write_to_file(str(path), **options)
    return path


def scene() -> pyvips.Image:
    return pyvips.Image.new_from_array(landscape(1, 80, 120)).copy(interpretation="srgb")


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".tif", ".TIFF"])
def test_every_format_gives_the_same_picture(tmp_path: Path, suffix: str) -> None:
    path = save(scene(), tmp_path / f"a{suffix.lower()}")
    path = path.rename(tmp_path / f"b{suffix}")
    pixels = decode(path, 80)
    assert pixels is not None
    assert np.abs(pixels.astype(int) - landscape(1, 80, 120)).mean() < 6
    assert list_photographs(tmp_path).keys() == {f"b{suffix}"}


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    turned = scene().rot270().copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)  # to be turned by 90 degrees
    pixels = decode(save(turned, tmp_path / "a.jpg"), 40)
    assert pixels is not None
    assert pixels.shape == (40, 60, 3)
    assert pixels[:8].mean() > pixels[-8:].mean() + 20  # sky above ground again


def test_grey_alpha_cmyk_and_sixteen_bit_become_rgb(tmp_path: Path) -> None:
    image = scene()
    grey = image.colourspace("b-w")
    half = image.bandjoin((pyvips.Image.black(120, 80) + 0).cast("uchar"))
    deep = image.colourspace("rgb16")
    kinds = {
        "grey.png": grey,
        "grey16.png": grey.colourspace("grey16"),
        "clear.png": half,
        "deep.png": deep,
        "deep.tif": deep.copy(interpretation="multiband"),
        "ink.jpg": image.colourspace("cmyk"),
    }
    sky = float(landscape(1, 80, 120)[:20].mean())
    for name, kind in kinds.items():
        pixels = decode(save(kind, tmp_path / name), 40)
        assert pixels is not None, name
        assert pixels.shape == (40, 60, 3), name
        assert pixels.dtype == np.uint8, name
        expected = 255.0 if name == "clear.png" else sky
        assert abs(float(pixels[:8].mean()) - expected) < 25, name


def test_damaged_and_small_files_are_named_counted_and_left_out(tmp_path: Path) -> None:
    folder = write_landscapes(tmp_path / "in", 3)
    whole = (folder / "000.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.txt").write_text("no photograph")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "good.jpg").write_bytes(whole)
    save(scene().resize(0.5), folder / "small.png")
    save(scene().crop(0, 0, 20, 80), folder / "narrow.png")
    photographs, notices = read(folder, tmp_path / "cache")
    assert len(photographs) == 4
    assert set(photographs.left_out) == {"cut.jpg", "empty.png", "small.png", "narrow.png"}
    assert notices[-1] == "4 of 8 images left out"
    assert any(line.startswith("left out cut.jpg: damaged") for line in notices)
    assert any(line.startswith("left out small.png: too small") for line in notices)


def test_a_folder_without_a_usable_photograph_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        list_photographs(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no image"):
        list_photographs(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="is a file"):
        list_photographs(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"none of the 1 images .* a\.jpg is damaged"):
        read(tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_second_run_reads_the_cache_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_landscapes(tmp_path / "in", 4)
    first, _ = read(folder, tmp_path / "cache")
    monkeypatch.setattr(module, "decode", lambda *_: pytest.fail("decoded again"))
    second, _ = read(folder, tmp_path / "cache")
    assert bytes(first.pixels) == bytes(second.pixels)
    monkeypatch.undo()
    other = Heights(HEIGHTS.shown_px, outer_px=(60,))
    assert cache_path(tmp_path, list_photographs(folder), other, 29) != cache_path(
        tmp_path, list_photographs(folder), HEIGHTS, 29
    )


def test_reading_tells_how_far_it_is(tmp_path: Path) -> None:
    folder = write_landscapes(tmp_path / "in", 3)
    events = list(
        read_photographs(folder, list_photographs(folder), HEIGHTS, PATCH_PX, tmp_path / "cache")
    )
    assert events == [Reading(1, 3), Reading(2, 3), Reading(3, 3)]


def test_a_patch_is_where_its_position_says(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    ramp = np.repeat(np.arange(53, dtype=np.uint8)[:, None, None] * 4, 80, axis=1).repeat(3, axis=2)
    save(pyvips.Image.new_from_array(ramp), folder / "ramp.png")
    photographs, _ = read(folder, tmp_path / "cache", Heights((53,)))
    batch = photographs.batch(3, 0, range(64), 64, flip=True)
    y = (batch.position + 1) / 2 * (53 - PATCH_PX)
    np.testing.assert_allclose(batch.pixels[:, 0, 0, 0] / 4, y, atol=0.3)
    np.testing.assert_allclose(batch.label_per_px, 2 / (53 - PATCH_PX))
    assert y.min() < 1
    assert y.max() > 53 - PATCH_PX - 1


def test_the_order_is_a_pure_function_of_seed_and_images(tmp_path: Path) -> None:
    photographs, _ = read(write_landscapes(tmp_path / "in", 5), tmp_path / "cache")

    def digest(seed: int, images: int, rows: list[int]) -> str:
        batch = photographs.batch(seed, images, rows, 8, flip=True)
        return hashlib.sha256(batch.pixels.tobytes() + batch.position.tobytes()).hexdigest()

    rows = list(range(8))
    assert digest(1, 64, rows) == digest(1, 64, rows)
    assert len({digest(s, i, rows) for s in (1, 2) for i in (0, 8, 16)}) == 6
    whole = photographs.batch(1, 64, rows, 8, flip=True)
    part = photographs.batch(1, 64, [2, 3, 6, 7], 8, flip=True)
    np.testing.assert_array_equal(whole.pixels[[2, 3, 6, 7]], part.pixels)


def outside_of(folder: Path, cache: Path, share: float) -> tuple[Photographs, TrainRecipe]:
    recipe = toy_recipe(data=DataConfig(image_px=53, outside=share, outside_rows=3))
    photographs, _ = read(folder, cache, Heights.of(recipe))
    return photographs, recipe


def test_the_edge_of_a_photograph_stands_for_what_lies_outside_the_band(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    rows = np.linspace(0, 240, 530)[:, None, None]  # 240 times the height, from 0 to 1
    ramp = np.broadcast_to(rows, (530, 800, 3)).round().astype(np.uint8)
    save(pyvips.Image.new_from_array(ramp), folder / "ramp.png")
    photographs, recipe = outside_of(folder, tmp_path / "cache", 0.5)
    side, stride = recipe.generator.patch_px, recipe.generator.stride

    batch = photographs.batch(3, 0, range(600), 600, flip=True, outside=recipe.outside)
    top, bottom = (batch.pixels[:, row, 0, 0] / 240 for row in (0, -1))
    above, below = batch.position < -1, batch.position > 1
    assert 0.4 < (above | below).mean() < 0.6
    assert 0.2 < above.mean() < 0.3
    outside_rows = (np.abs(batch.position) - 1) / recipe.label_per_row
    inside = (side - stride * outside_rows) / 53  # of the photograph's height
    np.testing.assert_allclose(top[above], 0, atol=0.02)
    np.testing.assert_allclose(bottom[above], inside[above], atol=0.02)
    np.testing.assert_allclose(bottom[below], 1, atol=0.02)
    np.testing.assert_allclose(top[below], 1 - inside[below], atol=0.02)
    np.testing.assert_array_equal(np.unique(outside_rows[above].round(4)), [1, 2, 3])

    # Patches inside the band are those of a recipe without any others.
    alone, _ = read(folder, tmp_path / "alone", Heights(recipe.data.heights_px))
    plain = alone.batch(3, 0, range(600), 600, flip=True)
    assert np.abs(plain.position).max() <= 1
    within = ~(above | below)
    np.testing.assert_array_equal(batch.pixels[within], plain.pixels[within])


def test_a_small_photograph_stands_for_the_rows_it_reaches_and_no_other(tmp_path: Path) -> None:
    _, recipe = outside_of(write_landscapes(tmp_path / "some", 2), tmp_path / "cache", 1.0)
    assert recipe.outside is not None
    first_px, second_px, _ = recipe.outside.heights_px
    for height_px, rows in ((first_px - 1, 0), (first_px, 1), (second_px + 1, 2)):
        folder = tmp_path / str(height_px)
        save(pyvips.Image.new_from_array(landscape(0, height_px, 99)), folder / "small.png")
        photographs, recipe = outside_of(folder, tmp_path / "cache", 1.0)
        batch = photographs.batch(0, 0, range(64), 64, flip=False, outside=recipe.outside)
        reached = (np.abs(batch.position) - 1) / recipe.label_per_row
        assert reached.max() == pytest.approx(rows, abs=1e-5)


def test_a_photograph_wide_enough_only_outside_the_band_is_left_out(tmp_path: Path) -> None:
    folder = write_landscapes(tmp_path / "in", 2)
    save(pyvips.Image.new_from_array(landscape(0, 600, 320)), folder / "portrait.png")
    photographs, recipe = outside_of(folder, tmp_path / "cache", 0.5)
    assert photographs.left_out == {
        "portrait.png": "too small: needs 53 px of height and then 29 px of width"
    }
    photographs.batch(0, 0, range(64), 64, flip=True, outside=recipe.outside)


def test_prefetched_batches_are_the_plain_ones(tmp_path: Path) -> None:
    photographs, _ = read(write_landscapes(tmp_path / "in", 3), tmp_path / "cache")

    def draw(images: int) -> module.Batch:
        return photographs.batch(0, images, range(4), 4, flip=True)

    batches = Prefetched(draw, 4)
    for images in (0, 4, 8, 4, 8):  # also after a jump
        np.testing.assert_array_equal(batches.batch(images).pixels, draw(images).pixels)
    batches.close()


def test_a_changed_folder_is_told_by_what_changed(tmp_path: Path) -> None:
    folder = write_landscapes(tmp_path / "in", 3)
    before = list_photographs(folder)
    (folder / "000.jpg").unlink()
    write_landscapes(folder / "more", 1, height=70)
    (folder / "001.jpg").write_bytes((folder / "002.jpg").read_bytes())
    difference = listing_difference(before, list_photographs(folder))
    assert difference == "1 added (more/000.jpg), 1 removed (000.jpg), 1 changed (001.jpg)"
