"""The evaluation from end to end on small models, and the identities its figures must keep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvips
from commands import done, infrender, saved_model
from landscapes import write_landscapes
from small_models import SMALL, random_model

from infinite_render.errors import DataError, UsageError
from infinite_render.evaluation.distances import (
    Features,
    frechet_distance,
    kernel_distance,
    statistics_of,
)
from infinite_render.evaluation.evaluate import Settings, evaluate
from infinite_render.evaluation.features import LiteSpace
from infinite_render.evaluation.images import ImageFolder, read_frame
from infinite_render.evaluation.painters import ModelPainter, draw_samples, origin_px, view_of
from infinite_render.evaluation.photographs import View, halves, read_photographs
from infinite_render.evaluation.protocols import Pictures, shrink
from infinite_render.evaluation.quality import training_quality
from infinite_render.evaluation.report import Report
from infinite_render.evaluation.sets import features_of_cuts, painted_frames, painted_patches
from infinite_render.evaluation.work import finish
from infinite_render.models import load_model
from infinite_render.rendering.scene import Scene

VIEW = View(64, 53, 7)
QUICK = Settings(
    samples=32,
    real_frames=16,
    scale_samples=5,
    scales=(1, 2),
    canvas_px=1 << 17,
    replicates=4,
    workers=2,
    precision="float32",
)


class Colours:
    """A space that costs nothing: means and deviations of the colours of three rows."""

    name = label = "colours"
    dim = 18

    def __call__(self, pictures: Pictures) -> Features:
        parts = np.array_split(pictures.astype(np.float32) / 64, 3, axis=1)
        values = [f(part, axis=(1, 2)) for part in parts for f in (np.mean, np.std)]
        return np.concatenate(values, axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_landscapes(tmp_path_factory.mktemp("photographs"), 12, 128, 192)


@pytest.fixture(scope="module")
def painter() -> ModelPainter:
    model = random_model()
    return ModelPainter(model, view_of(model, 101), "float32")


# What is painted.


def test_a_painted_patch_is_the_scenes_own_window(painter: ModelPainter) -> None:
    """The plain network in a batch, and the renderer by cells: alike but for a last rounding."""
    samples = [(5, 0, 3), (5, 6, 12), (2**62, 2, 0)]
    for sample, patch in zip(samples, painter.patches(samples), strict=True):
        seed, row, column = sample
        y, x = origin_px(painter.model, row, column)
        expected = Scene(painter.model, seed=seed, precision="float32").render(y, x, 53, 53)
        assert np.abs(patch.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_frame_is_a_window_centred_on_the_trained_band(painter: ModelPainter, scale: int) -> None:
    y, side, render = painter.frame_window(scale)
    first, stop = painter.model.recipe.generator.band_px
    assert side == 101 * scale
    assert abs((y + side / 2) - (first + stop) / 2) <= 0.5
    frame = painter.frame(7, 2, scale)[0]
    scene = Scene(painter.model, seed=7, precision="float32")
    expected = scene.render(y, 2 * render.block_px, side, side)
    assert np.abs(frame.astype(int) - expected).max() <= 1


def test_a_frame_of_the_ladder_is_the_frame_of_scale_1_seen_closer() -> None:
    model = load_model("landscape")
    plain = ModelPainter(model, view_of(model), "float32")
    small = plain.frame(7, 0, 1)[0].astype(int)
    large = replace(plain, ladder=True).frame(7, 0, 4)
    assert large.shape == (1, 404, 404, 3)
    again = shrink(large, 101, 101)[0]
    assert np.abs(small - again).mean() < 6  # the lattices lie 1.5 px of depth 2 apart
    assert small.std() > 20
    cells_of_512_px = replace(plain, ladder=True).frame(7, 0, 1)[0].astype(int)
    assert np.abs(small - cells_of_512_px).max() <= 1  # cells of other shapes round otherwise


def test_a_model_without_a_ladder_is_painted_at_depth_0(painter: ModelPainter) -> None:
    assert painter.model.recipe.detail is None
    frames = [replace(painter, ladder=ladder).frame(7, 2, 2) for ladder in (False, True)]
    assert np.array_equal(*frames)


def test_a_padded_model_is_painted_whole() -> None:
    """The paper's ablation has no renderer; its patch and its frame are one picture's sizes."""
    config = replace(
        SMALL,
        structure_layers=0,
        structure_dim=4,
        coordinates=False,
        padding=True,
        patch_cells=6,
        start_rows=1,
    )
    model = random_model(config)
    painter = ModelPainter(model, view_of(model, 64), "float32")
    assert painter.patches([(1, 3, 4), (2, 0, 0)]).shape == (2, 48, 48, 3)
    assert painter.frame(1, 0, 2).shape == (1, 128, 128, 3)
    assert np.array_equal(painter.frame(1, 0, 2), painter.frame(1, 0, 2))


def test_samples_follow_from_the_seed(painter: ModelPainter) -> None:
    first = draw_samples(painter.view, 13, 50, 3)
    assert first == draw_samples(painter.view, 13, 50, 3) != draw_samples(painter.view, 13, 50, 4)
    assert {row for _, row, _ in first} == set(range(7))


# What is cut from photographs.


def test_halves_share_no_photograph(data: Path) -> None:
    cuts = read_photographs(data, 64).patches(VIEW, 100, 0)
    first, second = halves(cuts.source, 0)
    assert not set(cuts.source[first]) & set(cuts.source[second])
    assert first.sum() + second.sum() == 100


def test_rows_run_from_the_top_of_a_photograph_to_its_bottom(data: Path) -> None:
    photographs = read_photographs(data, 64)
    cuts = photographs.patches(VIEW, 200, 0)
    assert set(cuts.y_px[cuts.row == 0]) == {0}
    assert set(cuts.y_px[cuts.row == 6]) == {64 - 53}
    assert photographs.pixels(cuts, slice(3, 9)).shape == (6, 53, 53, 3)
    assert len(set(cuts.source)) == 12


def test_features_are_kept_between_runs_and_told_apart(data: Path, tmp_path: Path) -> None:
    photographs, asked = read_photographs(data, 64), []

    class Counting(Colours):
        def __call__(self, pictures: Pictures) -> Features:
            asked.append(len(pictures))
            return super().__call__(pictures)

    def measure(seed: int) -> Features:
        cuts = photographs.patches(VIEW, 40, seed)
        return finish(
            features_of_cuts(
                photographs, cuts, Counting(), workers=1, cache=tmp_path, phase="patches"
            )
        )

    first = measure(0)
    assert sum(asked) == 40
    assert np.array_equal(measure(0), first)
    assert sum(asked) == 40
    assert not np.array_equal(measure(1), first)
    for path in tmp_path.iterdir():
        path.write_bytes(b"damaged")
    assert np.array_equal(measure(0), first)


def test_photographs_that_cannot_be_used_are_named(data: Path, tmp_path: Path) -> None:
    write_landscapes(tmp_path, 5)
    (tmp_path / "bad.jpg").write_bytes((data / "000.jpg").read_bytes()[:300])
    photographs = read_photographs(tmp_path, 60)
    assert len(photographs) == 5
    assert photographs.left_out[0].startswith("bad.jpg: damaged")
    with pytest.raises(DataError, match="holds 0 photographs that can be read at 200 px"):
        read_photographs(tmp_path, 200)


# What the distances must feel.


def worse(pictures: Pictures, kind: str, level: int) -> Pictures:
    """Pictures spoilt by blur, noise or a shift of colour, in steps of `level`."""
    if kind == "blur":
        side = pictures.shape[1]
        less = round(side * (1 - 0.2 * level))
        return shrink(shrink(pictures, less, less), side, side)
    change = (
        np.random.default_rng(0).normal(0, 12 * level, pictures.shape)
        if kind == "noise"
        else np.array([15 * level, 0, -15 * level])
    )
    return np.clip(pictures + change, 0, 255).astype(np.uint8)


def test_what_is_worse_is_further(data: Path) -> None:
    """On the real features: half of the photographs, spoilt more and more, against the other."""
    space = LiteSpace()
    photographs = read_photographs(data, 101)
    pixels = photographs.pixels(photographs.patches(View(101, 53, 7), 48, 0))
    detail = np.random.default_rng(1).integers(-40, 40, (48, 14, 14, 3)).repeat(4, 1).repeat(4, 2)
    pixels = np.clip(pixels + detail[:, :53, :53], 0, 255).astype(np.uint8)  # something to blur
    real, clean = space(pixels[:24]), space(pixels[24:])
    for kind in ("blur", "noise", "colour"):
        spoilt = [clean, *(space(worse(pixels[24:], kind, level)) for level in (1, 2, 3))]
        kernels = [kernel_distance(real, features) for features in spoilt]
        statistics = statistics_of(real)
        frechets = [frechet_distance(statistics, statistics_of(features)) for features in spoilt]
        assert kernels == sorted(kernels), kind
        assert frechets == sorted(frechets), kind
        assert kernels[3] - kernels[0] > 2 * abs(kernels[0]), kind


def test_scale_1_is_the_plain_distance(painter: ModelPainter) -> None:
    """Frames of scale 1, through the renderer and the shrinking, are what the network paints."""
    space = Colours()
    samples = draw_samples(painter.view, painter.columns, 5, 0)
    y, side, render = painter.frame_window(1)
    plain = np.stack(
        [
            Scene(painter.model, seed=seed, precision="float32").render(
                y, column * render.block_px, side, side
            )
            for seed, _, column in samples
        ]
    )
    for protocol in ("antialiased", "reference"):
        frames = painted_frames(painter, space, 1, 5, 0, protocol=protocol, workers=2)
        assert finish(frames) == pytest.approx(space(plain), abs=0.02)


def test_the_reference_protocol_aliases_and_ours_does_not() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::4] = 255  # a quarter of the columns, never those that bilinear sampling reads
    assert shrink(stripes, 16, 16, "reference").max() == 0
    ours = shrink(stripes, 16, 16, "antialiased")[0, 4:12, 4:12]
    assert abs(float(ours.mean()) - 255 / 4) < 2


def test_measures_do_not_depend_on_the_workers(painter: ModelPainter) -> None:
    one = finish(painted_patches(painter, Colours(), 40, 0, workers=1))
    two = finish(painted_patches(painter, Colours(), 40, 0, workers=2))
    assert one.features.tobytes() == two.features.tobytes()
    assert one.thumbs.tobytes() == two.thumbs.tobytes()


# All of it.


@pytest.fixture(scope="module")
def reports(data: Path, painter: ModelPainter, tmp_path_factory: pytest.TempPathFactory):
    """Two runs that differ in their seed, and a folder of photographs held against the rest."""
    cache, images = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("twice")
    for path in sorted(data.glob("*.jpg")):
        pyvips.Image.new_from_file(str(path)).resize(202 / 128).write_to_file(
            str(images / f"{path.stem}.png")
        )
    subjects = [painter, ImageFolder(images, 2)]
    first = replace(QUICK, cache=cache)
    second = replace(first, seed=1, parts=("patches",))
    return [
        finish(evaluate(subjects, data, first)),
        finish(evaluate([painter], data, second)),
    ]


def test_a_report_holds_every_figure_and_becomes_json(reports: list[Report]) -> None:
    report = reports[0]
    model, images = report.subjects
    assert (model.name, images.name[:5]) == ("random", "twice")
    assert [row.scale for row in model.scales] == [1, 2]
    assert [row.scale for row in images.scales] == [2]
    assert len(model.bands) == len(report.floors[0].halves.bands) == 3
    assert model.patches.frechet.samples == 32
    assert model.seams.low < 1 < model.seams.high
    plain = json.loads(report.to_json())
    assert plain["subjects"][0]["repetition"]["period_px"] == 13 * 8
    assert plain["seed"] == 0
    table = report.table()
    assert len({len(row) for row in table}) == 1
    assert table[0] == ("", "other crops", "other half", "random", images.name)


def test_photographs_are_far_nearer_to_photographs_than_noise_is(reports: list[Report]) -> None:
    """The floor, and photographs posing as another system's pictures, against random weights."""
    floor, (model, images) = reports[0].floors[0], reports[0].subjects
    for photographs in (floor.crops, floor.halves):
        assert photographs.patches.kernel.value < 0.2 * model.patches.kernel.value
        assert photographs.patches.frechet.value < model.patches.frechet.value
    assert images.scales[0].distances.kernel.value < 0.2 * model.scales[1].distances.kernel.value
    assert images.scales[0].distances.frechet.value < model.scales[1].distances.frechet.value


def test_two_seeds_agree_within_their_intervals(reports: list[Report]) -> None:
    first, second = (report.subjects[0].patches for report in reports)
    for a, b in ((first.frechet, second.frechet), (first.kernel, second.kernel)):
        assert a.value != b.value
        assert a.low < b.high
        assert b.low < a.high


def test_held_out_photographs_are_the_yardstick_of_memory(
    data: Path, painter: ModelPainter, tmp_path: Path
) -> None:
    """The training photographs themselves, posing as unseen: every one of them is found again."""
    settings = replace(QUICK, samples=16, parts=("memory",), held_out=data)
    memory = finish(evaluate([painter], data, settings)).subjects[0].memory
    assert memory.pixels.lowest_unseen < 3 < memory.pixels.lowest_painted
    write_landscapes(tmp_path, 3, 128, 192)
    with pytest.raises(DataError, match=r"--held-out: DATA .* holds 3 photographs"):
        finish(evaluate([painter], data, replace(settings, held_out=tmp_path)))


def test_a_picture_of_another_system_is_shrunk_by_its_scale(data: Path) -> None:
    frame = read_frame(data / "000.jpg", 2, 101, "antialiased")
    assert frame.shape == (1, 64, 64, 3)
    assert read_frame(data / "000.jpg", 1, 101, "antialiased").shape == (1, 101, 101, 3)
    with pytest.raises(DataError, match="too small for --scale 9"):
        read_frame(data / "000.jpg", 9, 101, "antialiased")


def test_a_training_run_can_ask_for_one_figure(data: Path, tmp_path: Path) -> None:
    """The same generator gives the same figure, and stays as it was."""
    measure = training_quality(data, SMALL, 101, samples=24, cache=tmp_path)
    generator = random_model().generator
    before = statistics_of(np.stack([p.flatten()[:8].numpy() for p in generator.parameters()][:2]))
    assert measure(generator) == measure(generator) > 0
    after = statistics_of(np.stack([p.flatten()[:8].numpy() for p in generator.parameters()][:2]))
    assert np.array_equal(before.mean, after.mean)
    smaller = training_quality(data, SMALL, 101, samples=24, cache=tmp_path, seen_px=24)
    assert 0 < smaller(generator) != measure(generator)


def test_settings_that_cannot_be_are_refused() -> None:
    for change, line in (
        ({"parts": ("seam",)}, "did you mean 'seams'"),
        ({"samples": 3}, "--samples 3 must be 16 or more"),
        ({"scales": ()}, "must be whole numbers of 1 or more"),
        ({"protocol": "bicubic"}, "--protocol bicubic is unknown"),
    ):
        with pytest.raises(UsageError, match=line):
            replace(QUICK, **change)
    with pytest.raises(UsageError, match="needs one model"):
        next(evaluate([ImageFolder(Path("x"), 2)], Path("x"), QUICK))


# The command.


def test_the_command_prints_a_table_and_writes_json(data: Path, tmp_path: Path) -> None:
    model = saved_model(tmp_path / "small")
    arguments = ["evaluate", model, data, "--only", "patches", "--samples", 24, "--bands", 2]
    common = [*arguments, "--cache", tmp_path / "cache", "--workers", 2]
    result = done(*common, "--json", tmp_path / "figures.json")
    assert "Frechet, patches at the top\t" in result.stdout
    assert result.stdout.splitlines()[0].startswith("Frechet distance (EfficientNet-Lite0)")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["subjects"][0]["patches"]["frechet"]["value"] > 0
    assert done(*common, "--markdown").stdout.splitlines()[3] == "|---|---|---|---|"
    told = json.loads(done(*common, "-q", "--json", "-").stdout)
    assert told["subjects"] == figures["subjects"]


def test_the_commands_mistakes_cost_one_line(data: Path, tmp_path: Path) -> None:
    model = saved_model(tmp_path / "small")
    for arguments, line in (
        ([model, tmp_path / "none"], "does not exist"),
        (["landscap", data], "unknown model"),
        ([model, data, "--images", data], "1 --images and 0 --scale"),
        ([model, data, "--scales", "1,two"], "--scales 1,two is not a list"),
        ([model, data, "--image-px", 40], "lower than the patch"),
    ):
        result = infrender("evaluate", *arguments)
        assert result.exit_code == 2
        assert line in result.stderr
        assert len(result.stderr.splitlines()) <= 2  # the phase that had begun, and the mistake
