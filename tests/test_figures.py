"""Figures: what they hold, that they refuse wrong shapes, and that they save the same bytes."""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from dgmpipe.figures import style
from dgmpipe.figures.figure_01 import figure_01
from dgmpipe.figures.figure_02 import figure_02
from dgmpipe.figures.figure_03 import figure_03
from dgmpipe.figures.figure_07 import figure_07
from dgmpipe.figures.figure_08 import figure_08
from dgmpipe.figures.figure_09 import figure_09
from dgmpipe.figures.figure_10 import figure_10
from dgmpipe.figures.figure_11 import Curves, figure_11
from dgmpipe.figures.figure_claims import figure_claims
from dgmpipe.figures.figure_flow import draw_latent
from dgmpipe.figures.figure_map import figure_map
from dgmpipe.figures.figure_priors import figure_priors
from dgmpipe.figures.figure_study import figure_study

FUNCTIONS = (
    *("01", "02", "03", "04", "07", "08", "09", "10", "11"),
    *("flow", "study", "map", "claims", "priors"),
)
MODULES = ["style", *(f"figure_{name}" for name in FUNCTIONS)]


def some_images(number):
    return np.random.default_rng(number).random((number, 28, 28))


def some_points(number):
    return np.random.default_rng(number).normal(size=(number, 2))


def some_posterior(number):
    """Gaussian log densities with MAPs and means that differ a little, on a coarse grid."""
    axis = np.linspace(-5, 5, 101)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    centres = some_points(number)
    means = centres + 0.1

    def log_density(centre):
        return -0.5 * ((grid - centre) ** 2).sum(axis=-1) / 0.1**2 - np.log(2 * np.pi * 0.1**2)

    return {
        "limit": np.array(5.0),  # not needed by the figure
        "index": np.arange(number),
        "label": np.arange(number) % 10,
        "image": some_images(number),
        "axis": axis,
        "log_posterior": np.stack([log_density(centre) for centre in centres]),
        "log_approximate": np.stack([log_density(mean) for mean in means]),
        "map": centres,
        "map_reconstruction": some_images(number),
        "mean": means,
        "mean_reconstruction": some_images(number),
        "log_evidence": np.full(number, -150.0),
        "elbo": np.full(number, -152.5),
    }


def some_latent():
    means = some_points(300)
    edges = np.linspace(-4, 4, 41)
    histogram, _, _ = np.histogram2d(*means.T, bins=edges)
    points = some_points(64)
    return {
        "means": means,
        "labels": np.arange(300) % 10,
        "samples": means[:, None],
        "histogram": histogram,
        "edges": edges,
        "points": points[points[:, 0].argsort()],
        "point_images": some_images(64),
    }


def some_flow():
    axis = np.linspace(-2, 2, 30)
    log_density = -((axis**2)[:20, None] + axis**2)
    return {
        "batch": some_points(50),
        "latent_samples": some_points(40),
        "samples": some_points(40) / 2,
        "x_axis": axis,
        "y_axis": axis[:20],
        "log_density": log_density,
        "true_log_density": log_density,
    }


def some_priors():
    axis = np.linspace(-4, 4, 40)
    wide, narrow = (np.exp(-(axis**2 + axis[:, None] ** 2) / (2 * v)) for v in (1.0, 0.3))
    arrays = {"axis": axis, "aggregate": narrow}
    for name, density in (("normal", wide), ("mixture", narrow)):
        arrays |= {
            f"{name}_density": density,
            f"{name}_points": some_points(9),
            f"{name}_point_images": some_images(9),
            f"{name}_samples": some_images(16),
        }
    return arrays


def draw_priors(**changes):
    titles = {"normal": "N(0, I)", "mixture": "a mixture"}
    return figure_priors(some_priors() | changes, titles)


def test_outlines_of_a_prior_hold_the_shares_of_its_mass():
    plane = draw_priors().axes[0]
    axis = some_priors()["axis"]
    density = some_priors()["normal_density"]
    (outlines,) = (c for c in plane.collections if hasattr(c, "levels"))
    shares = [density[density >= level].sum() / density.sum() for level in outlines.levels]
    assert shares == pytest.approx([0.95, 0.5], abs=0.02)
    # Of N(0, I), 95% are within 2.45 of the origin, and half within 1.18.
    radii = np.hypot(*np.meshgrid(axis, axis))
    for level, radius in zip(outlines.levels, (2.45, 1.18), strict=True):
        assert radii[density >= level].max() == pytest.approx(radius, abs=0.15)


def test_a_prior_without_its_samples_is_refused():
    arrays = some_priors()
    del arrays["mixture_samples"]
    with pytest.raises(ValueError, match="mixture_samples"):
        figure_priors(arrays, {"mixture": "a mixture"})


def some_curves(seeds):
    steps = np.arange(0, 100, 10)
    return [
        Curves(
            colour,
            "VAE" if start == "vae" else None,
            f"{kind}, {start}",
            steps,
            scale * np.exp(-steps / 50 + np.random.default_rng(1).normal(size=(seeds, 10)) / 10),
        )
        for colour, (kind, scale) in enumerate([("dcgan", 5), ("wgan", 3)])
        for start in ("random", "vae")
    ]


def some_floor():
    return np.random.default_rng(2).normal(size=100) * 0.005


def some_study():
    """Two models at three noises and two seeds; one measure is of one model alone."""
    rows = [
        {
            "model": model,
            "noise": noise,
            "seed": seed,
            "flow.kl": (1 + seed) * noise,
            "flow.nll": noise if model == "a" else np.nan,
        }
        for model in ("a", "b")
        for noise in (0.2, 0.05, 0.01)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


def draw_study(**changes):
    settings = {
        "x": "noise",
        "measures": ["flow.kl", "flow.nll"],
        "titles": {"a": "Real NVP", "b": "OT-Flow"},
        "log_x": True,
        "log_y": ["flow.kl"],
    }
    settings |= changes
    return figure_study(settings.pop("table", some_study()), **settings)


def draw_map(**changes):
    table = pd.concat([some_study().assign(width=width) for width in (8, 16)])
    settings = {
        "x": "noise",
        "y": "width",
        "measures": ["flow.kl", "flow.nll"],
        "titles": {"a": "Real NVP", "b": "OT-Flow"},
        "log_y": ["flow.kl"],
    }
    return figure_map(**{"table": table} | settings | changes)


def test_a_map_has_a_cell_for_each_pair_of_values():
    table = pd.concat([some_study().assign(width=width) for width in (8, 16)])
    table.loc[table["width"] == 16, "flow.kl"] *= 10
    figure = draw_map(table=table)
    left, right = panels(figure)[:2]
    assert np.asarray(left.images[0].get_array()) == pytest.approx(
        np.outer([1, 10], [0.015, 0.075, 0.3])
    )
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["0.01", "0.05", "0.2"]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["8", "16"]
    texts = [text.get_text() for text in left.texts]
    assert texts[0] == "0.015\n0.01–0.02"
    assert len(texts) == 6
    assert [text.get_text() for text in right.texts] == ["0.01", "0.05", "0.2"] * 2
    # All maps of a measure have one scale, and what could not be measured is left white.
    below = panels(figure)[2]
    assert below.images[0].norm.vmax == left.images[0].norm.vmax == pytest.approx(3)
    assert not panels(figure)[3].texts
    assert np.isnan(np.asarray(panels(figure)[3].images[0].get_array(), float)).all()


def test_a_map_of_equal_numbers_has_one_colour_and_one_tick():
    table = some_study().assign(width=8, **{"flow.kl": 0.0})
    figure = draw_map(table=table)
    shown = panels(figure)[0].images[0]
    assert (shown.cmap(shown.norm(shown.get_array())) == shown.cmap(0.0)).all()
    bar = next(axes for axes in figure.axes if axes.get_xlabel() == "kl")
    assert bar.get_xticks().tolist() == [0]


def test_the_bar_of_a_logarithmic_map_has_few_round_ticks():
    table = pd.concat([some_study().assign(width=width) for width in (8, 16)])
    figure = draw_map(table=table)
    figure.draw_without_rendering()
    bar = next(axes for axes in figure.axes if axes.get_xlabel() == "kl")
    assert [tick.get_text() for tick in bar.get_xticklabels()] == ["0.01", "0.03", "0.1", "0.3"]
    assert not bar.xaxis.get_minorticklocs().size


def test_a_study_has_a_line_for_each_value_of_a_further_key():
    table = some_study().assign(width=[8, 16] * 6)
    legend = figure_study(
        table,
        x="noise",
        keys=["width"],
        measures=["flow.kl"],
        titles={"a": "Real NVP", "b": "OT-Flow"},
    ).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        f"{title}, width {width}" for title in ("Real NVP", "OT-Flow") for width in (8, 16)
    ]


def test_a_study_can_have_its_models_one_below_the_other():
    titles = {"a": "a flow with a long name", "b": "another with a long name"}
    figure = draw_study(x="model", keys=["noise"], titles=titles, log_x=False)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(titles.values())
    assert len(axes.containers) == 3  # of each noise one, without lines between the models
    assert all(container.lines[0].get_linestyle() == "None" for container in axes.containers)
    means = [container.lines[0].get_xdata().tolist() for container in axes.containers]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["noise 0.2", "noise 0.05", "noise 0.01"]
    assert means == [pytest.approx([1.5 * noise] * 2) for noise in (0.2, 0.05, 0.01)]


FIGURES = {
    "01": lambda: figure_01(some_flow()),
    "02": lambda: figure_02(some_points(50), some_points(40)),
    "03": lambda: figure_03(some_points(50), some_images(20)),
    "07": lambda: figure_07(some_posterior(2)),
    "08": lambda: figure_08(some_latent()),
    "09": lambda: figure_09(some_images(16), {"VAE": some_images(9)}),
    "10": lambda: figure_10({"VAE": some_images(20), "DCGAN": some_images(20)}),
    "11": lambda: figure_11(some_curves(3), some_floor()),
    "study": draw_study,
    "map": draw_map,
    "priors": draw_priors,
}


def panels(figure):
    return [axes for axes in figure.axes if axes.axison]


def is_picture(axes):
    """Whether the axes show images rather than a plot with coordinates."""
    return any(image.get_cmap().name == "gray_r" for image in axes.images)


@pytest.fixture(params=FIGURES)
def drawn(request):
    return FIGURES[request.param]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("01", 3),
        ("02", 2),
        ("03", 2),
        ("07", 10),
        ("08", 4),
        ("09", 2),
        ("10", 2),
        ("11", 1),
        ("study", 2),
        ("map", 6),
        ("priors", 6),
    ],
)
def test_figures_have_their_panels(name, number):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert len(panels(figure)) == number


def test_every_panel_says_what_it_shows(drawn):
    for axes in panels(drawn()):
        if is_picture(axes):
            assert list(axes.get_yticks()) == []
        elif len(axes.get_xticks()) == 0:
            assert axes.get_xlabel() or axes.get_title()
        else:
            assert axes.get_xlabel()
            assert axes.get_ylabel() or axes.get_label() == "<colorbar>"


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_saving_gives_the_same_bytes(name, tmp_path):
    for part in ("first", "second"):
        figure = FIGURES[name]()
        style.save_figure(figure, tmp_path / f"{part}.png", tmp_path / f"{part}.pdf")
    for kind in ("png", "pdf"):
        first, second = (tmp_path / f"{name}.{kind}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
    with Image.open(tmp_path / "first.png") as image:
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    assert b"CreationDate" not in (tmp_path / "first.pdf").read_bytes()


def test_texts_stay_inside_and_are_of_readable_size(drawn):
    figure = drawn()
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -0.01
    for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")):
        assert text.get_fontsize() >= 8


def test_figure_07_tells_evidence_bound_and_gap():
    texts = " ".join(text.get_text() for text in figure_07(some_posterior(1)).axes[0].texts)
    for number in ("-150.0", "-152.5", "2.5"):
        assert number in texts


def test_figure_07_puts_z1_on_the_horizontal_axis():
    posterior = some_posterior(1)
    shown = figure_07(posterior).axes[1].images[0]
    row, column = np.unravel_index(shown.get_array().argmax(), shown.get_array().shape)
    left, right, bottom, top = shown.get_extent()
    size = len(posterior["axis"])
    peak = (
        left + (column + 0.5) * (right - left) / size,
        bottom + (row + 0.5) * (top - bottom) / size,
    )
    assert peak == pytest.approx(posterior["map"][0], abs=0.051)


def test_figure_07_draws_log_densities_of_minus_infinity():
    posterior = some_posterior(1)
    posterior["log_posterior"][posterior["log_posterior"] < -50] = -np.inf
    FigureCanvasAgg(figure_07(posterior)).draw()


def test_figure_08_shows_another_number_of_points():
    points, images = some_points(16), some_images(16)
    figure = figure_08(some_latent() | {"points": points, "point_images": images})
    assert "(c) 16 points" in panels(figure)[2].get_title()
    (picture,) = figure.axes[3].images
    assert picture.get_array().shape == (4 * 30 - 2, 4 * 30 - 2)


def test_figure_08_names_each_digit_at_a_place_of_its_own():
    """Also two digits that the encoder does not tell apart, but none that lies outside."""
    latent = some_latent()
    centres = np.random.default_rng(3).uniform(-3.5, 3.5, size=(10, 2))
    centres[9] = centres[4]
    centres[5] = 7
    latent["means"] = centres[latent["labels"]] + some_points(300) / 4
    panel, counts, *_ = panels(figure_08(latent))
    outside = int((np.abs(latent["means"]) > 4).any(axis=1).sum())
    assert outside >= 30
    assert f"300 approximate\nposteriors ({outside} outside)" in panel.get_title()
    assert "300 samples" in counts.get_title()
    badges = {text.get_text(): text.get_position() for text in panel.texts}
    assert sorted(badges) == list("012346789")
    places = np.array(list(badges.values()))
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    assert apart[np.triu_indices(9, 1)].min() > 0.6
    for digit, place in badges.items():
        assert np.linalg.norm(place - centres[int(digit)]) < 1


@pytest.mark.parametrize("models", range(1, 6))
def test_figure_09_has_a_panel_for_each_model(models):
    samples = {f"model {k}": some_images(4) for k in range(models)}
    titles = {axes.get_title() for axes in figure_09(some_images(4), samples).axes}
    assert titles == {"true images", *samples}


def test_figure_09_has_true_images_over_the_vae_and_a_column_a_gan():
    names = ["VAE", "DCGAN", "DCGAN from VAE", "WGAN", "WGAN from VAE"]
    figure = figure_09(some_images(4), {name: some_images(4) for name in names})
    FigureCanvasAgg(figure).draw()
    places = {axes.get_title(): axes.get_position().p0 for axes in figure.axes}
    for upper, lower in (("true images", "VAE"), names[1:3], names[3:5]):
        assert places[upper][0] == pytest.approx(places[lower][0])
        assert places[upper][1] > places[lower][1]
    assert places["VAE"][0] < places["DCGAN"][0] < places["WGAN"][0]


def test_figure_01_links_latent_points_with_what_is_generated_from_them():
    flow = some_flow()
    figure = figure_01(flow)
    links = [artist for artist in figure.artists if hasattr(artist, "xy1")]
    assert len(links) >= 5
    for k, link in enumerate(links):
        assert link.xy1 == pytest.approx(flow["latent_samples"][k])
        assert link.xy2 == pytest.approx(flow["samples"][k])


def test_figure_11_has_blue_dcgan_orange_wgan_random_dashed_and_vae_solid():
    axes = figure_11(some_curves(1), some_floor()).axes[0]
    look = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in axes.lines}
    assert look == {
        "dcgan, random": (style.DATA, "--"),
        "dcgan, vae": (style.DATA, "-"),
        "wgan, random": (style.LATENT, "--"),
        "wgan, vae": (style.LATENT, "-"),
        "the VAE": ("black", ":"),
    }


def test_figure_11_draws_the_mean_of_the_seeds_in_the_band_between_them():
    curves = some_curves(4)
    axes = figure_11(curves, some_floor()).axes[0]
    bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    titles = [curve.title for curve in curves]
    lines = [line for line in axes.lines if line.get_label() in titles]
    assert len(axes.lines) == len(curves) * (1 + 4) + 1  # each seed has a thin one, and the VAE one
    assert len(bands) == len(curves)
    for curve, line, band in zip(curves, lines, bands, strict=True):
        assert line.get_ydata() == pytest.approx(curve.distances.mean(axis=0))
        assert band.min() == pytest.approx(curve.distances.min())
        assert band.max() == pytest.approx(curve.distances.max())
    assert not figure_11(some_curves(1), some_floor()).axes[0].collections


def test_figure_11_tells_many_of_one_kind_apart():
    (curve, *_) = some_curves(1)
    curves = [curve._replace(title=str(place)) for place in range(20)]
    lines = figure_11(curves, some_floor()).axes[0].lines[:20]
    looks = {(line.get_marker(), line.get_markerfacecolor()) for line in lines}
    assert len(looks) >= 2 * len(style.SERIES_MARKERS) + 1


def test_figure_11_has_the_floor_of_real_images():
    floor = some_floor()
    axes = figure_11(some_curves(1), floor).axes[0]
    (band,) = axes.patches
    assert band.get_y() + band.get_height() == pytest.approx(np.quantile(floor, 0.95))
    assert axes.get_ylim()[0] == pytest.approx(band.get_y())


def test_figure_11_has_the_level_of_the_model_that_others_start_from():
    curves = some_curves(3)
    (level,) = (
        line
        for line in figure_11(curves, some_floor()).axes[0].lines
        if line.get_label() == "the VAE"
    )
    first = [curve.distances[:, 0].mean() for curve in curves if curve.start]
    assert level.get_ydata() == pytest.approx(np.full(2, np.mean(first)))


def test_figure_11_says_why_a_curve_is_shorter_than_others():
    long, short = some_curves(1)[:2]
    short = short._replace(steps=short.steps[:4], distances=short.distances[:, :4])
    (text,) = figure_11([long, short], some_floor()).axes[0].texts
    assert text.get_text() == "ends after 30 steps"
    assert text.xy == (30, pytest.approx(short.distances[0, -1]))
    assert text.get_color() == style.DATA
    assert not figure_11([long], some_floor()).axes[0].texts


def test_the_latent_histogram_shows_bins_with_few_points_beside_full_ones():
    figure = Figure()
    axes = figure.subplots()
    draw_latent(axes, np.concatenate([np.zeros((2_500, 2)), np.full((100, 2), 2.0)]))
    mesh = next(c for c in axes.collections if isinstance(c, QuadMesh))
    counts = mesh.get_array()
    darkness = 1 - mesh.to_rgba(counts)[..., 0]
    assert darkness[counts == 100].item() > 0.05
    assert darkness[counts == 0].max() < 0.01


def test_figure_10_ticks_stand_below_the_images_centres():
    axes = figure_10({"VAE": some_images(21)}).axes[-1]
    centres = 13.5 + (28 + style.GRID_GAP) * np.arange(21)
    assert list(axes.get_xticks()) == pytest.approx(centres[::5])


def test_image_grid_places_images_row_by_row():
    images = np.stack([np.full((28, 28), value) for value in (0.1, 0.2, 0.3)])
    with style.new_figure(2, 2) as figure:
        picture = style.image_grid(figure.subplots(), images, 2, 2).get_array()
    cell = 28 + style.GRID_GAP
    assert picture.shape == (28 + cell, 28 + cell)
    for value, row, column in ((0.1, 0, 0), (0.2, 0, 1), (0.3, 1, 0), (0, 1, 1)):
        tile = picture[row * cell : row * cell + 28, column * cell : column * cell + 28]
        assert (tile == value).all()


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (2, (1, 2)), (5, (2, 3)), (64, (8, 8)), (65, (8, 9))]
)
def test_square_grid_has_room(count, shape):
    assert style.square_grid(count) == shape


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figure_01(without(some_flow(), "latent_samples")),
        lambda: figure_01(some_flow() | {"samples": some_points(39)}),
        lambda: figure_11([], some_floor()),
        lambda: figure_11(some_curves(1), []),
        lambda: figure_11([some_curves(1)[0]._replace(steps=np.arange(9))], some_floor()),
        lambda: figure_02(some_points(5)[:, :1], some_points(5)),
        lambda: figure_02(some_points(5), some_points(5).T),
        lambda: figure_03(some_points(5), some_images(5)[0]),
        lambda: figure_03(some_points(5), some_images(5).reshape(5, 784)),
        lambda: figure_07(without(some_posterior(1), "axis")),
        lambda: figure_07(some_posterior(2) | {"elbo": np.zeros(3)}),
        lambda: figure_07(some_posterior(1) | {"log_posterior": np.zeros((1, 101, 100))}),
        lambda: figure_08(some_latent() | {"labels": np.zeros(3, dtype=int)}),
        lambda: figure_08(some_latent() | {"edges": np.linspace(-4, 4, 40)}),
        lambda: figure_08(some_latent() | {"points": some_points(63)}),
        lambda: figure_09(some_images(4), {}),
        lambda: figure_09(some_images(4), {"VAE": some_points(4)}),
        lambda: figure_10({}),
        lambda: figure_10({"VAE": some_images(20), "DCGAN": some_images(19)}),
        lambda: figure_10({"VAE": np.empty((0, 28, 28))}),
        lambda: style.image_grid(Figure().subplots(), some_images(5), 2, 2),
    ],
)
def test_wrong_shapes_are_refused(draw):
    with pytest.raises(ValueError, match=r"shape|missing|at least one|fit into|one edge more"):
        draw()


def test_figure_11_has_no_band_where_real_images_have_negative_distances():
    axes = figure_11(some_curves(1), [-0.01, -0.002]).axes[0]
    assert not axes.patches
    assert axes.get_ylim()[0] > 0


def test_figure_11_tells_further_kinds_and_models_apart():
    """A kind by its colour, a second model of one kind and start by its marks."""
    curve = some_curves(1)[0]
    models = [(1, "VAE"), (2, None), (2, "VAE"), (2, "VAE"), (2, "VAE")]
    drawn = [
        curve._replace(colour=colour, start=start, title=str(n))
        for n, (colour, start) in enumerate(models)
    ]
    *lines, _ = figure_11(drawn, some_floor()).axes[0].lines
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines]
    colour = style.SERIES_COLOURS[2]
    assert looks == [
        (style.LATENT, "-", "None"),
        (colour, "--", "None"),
        (colour, "-", "None"),
        (colour, "-", "o"),
        (colour, "-", "s"),
    ]


def test_a_study_has_the_mean_over_the_seeds_with_a_bar_between_them():
    left, right = panels(draw_study())
    (first, second) = left.containers
    for bars in (first, second):
        assert list(bars.lines[0].get_xdata()) == [0.01, 0.05, 0.2]
        assert bars.lines[0].get_ydata() == pytest.approx([0.015, 0.075, 0.3])
        ends = [segment[:, 1] for segment in bars.lines[2][0].get_segments()]
        assert np.stack(ends)[-1] == pytest.approx([0.2, 0.4])
    assert left.get_xscale() == left.get_yscale() == "log"
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["0.01", "0.05", "0.20"]
    assert right.get_yscale() == "linear"
    lacking = np.asarray(right.containers[1].lines[0].get_ydata(), float)
    assert np.isnan(lacking).all(), "what there is not is a gap"
    figure = draw_study()
    assert [text.get_text() for text in figure.legends[0].texts] == ["Real NVP", "OT-Flow"]


def test_a_study_of_what_is_no_number_has_a_row_for_each_value():
    table = some_study().assign(likelihood="bernoulli")
    table.loc[table["noise"] == 0.01, "likelihood"] = "continuous_bernoulli"
    titles = {"a": "A", "b": "B"}
    figure = figure_study(table, x="likelihood", measures=["flow.kl"], titles=titles)
    (axes,) = panels(figure)
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["bernoulli", "continuous bernoulli"]
    of_a = axes.containers[0]
    mean = table[table["model"] == "a"].groupby("likelihood")["flow.kl"].mean()
    drawn = dict(zip(of_a.lines[0].get_ydata().round(), of_a.lines[0].get_xdata(), strict=True))
    assert drawn == {0: mean["bernoulli"], 1: mean["continuous_bernoulli"]}
    assert [text.get_text() for text in figure.legends[0].texts] == ["A", "B"]


def test_a_study_of_what_is_true_or_not_has_a_row_for_each():
    table = some_study().assign(standardised=some_study()["noise"] == 0.01)
    titles = {"a": "A", "b": "B"}
    figure = figure_study(table, x="standardised", measures=["flow.kl"], titles=titles)
    (axes,) = panels(figure)
    assert {tick.get_text() for tick in axes.get_yticklabels()} == {"true", "false"}


def test_a_study_of_models_has_a_row_for_each() -> None:
    table = some_study().groupby(["model", "seed"], as_index=False).mean()
    table["flow.truth"] = 0.25
    figure = draw_study(table=table, x="model", lines={"flow.kl": ["flow.truth"]})
    left, right = panels(figure)
    assert [label.get_text() for label in left.get_yticklabels()] == ["Real NVP", "OT-Flow"]
    (bars,) = left.containers
    mean = table.groupby("model")["flow.kl"].mean()
    assert bars.lines[0].get_xdata().tolist() == pytest.approx(mean.tolist())
    (segments,) = bars.lines[2]
    ends = np.array(segments.get_segments())[:, :, 0]
    assert ends == pytest.approx(np.array([[0.0867, 0.1733]] * 2), abs=1e-3)
    assert left.get_xscale() == "log"
    assert right.get_xscale() == "linear"
    # What could not be measured of a model leaves its row empty.
    drawn = np.array(right.containers[0].lines[0].get_xdata(), float)
    assert np.isnan(drawn).tolist() == [False, True]
    (line,) = [line for line in left.lines if line.get_label() == "truth"]
    assert set(line.get_xdata()) == {0.25}


def test_a_study_of_a_sweep_has_lines_across_its_panels() -> None:
    table = some_study().assign(**{"flow.floor": 0.25})
    figure = draw_study(table=table, lines={"flow.kl": ["flow.floor"]})
    (line,) = [line for line in panels(figure)[0].lines if line.get_label() == "floor"]
    assert set(line.get_ydata()) == {0.25}
    assert "floor" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(("x", "measure"), [("nose", "flow.kl"), ("noise", "flow.lk")])
def test_a_study_of_what_the_table_has_not_is_refused(x, measure):
    with pytest.raises(ValueError, match=r"no column (nose|flow.lk)"):
        draw_study(x=x, measures=[measure], log_y=[])


def some_claims(seeds):
    """A statement that holds, one that fails, one undecided, one known to a range, one far off."""
    effects = {"holds": 1, "fails": -1, "open": 0.05, "range": -0.5, "far": 9}
    rows = [
        {
            "where": "Fig. 1",
            "statement": name,
            "low": -np.inf if (name, seed) == ("fails", 1) else effect + 0.1 * seed,
            "high": effect + 0.1 * seed + (1 if name == "range" else 0),
            "error": 0.05 if name == "open" else np.nan,
        }
        for name, effect in effects.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("seeds", [1, 4])
def test_a_statement_stands_on_its_side_of_the_border_with_its_interval(seeds):
    figure = figure_claims(some_claims(seeds))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == [f"{name}  [Fig. 1]" for name in ("holds", "fails", "open", "range", "far")]
    marks = {
        int(line.get_ydata()[0]): (line.get_marker(), float(line.get_xdata()[0]))
        for line in axes.lines
        if line.get_markersize() == 5
    }
    assert marks[0] == ("o", pytest.approx(1 + 0.05 * (seeds - 1)))
    assert marks[1] == ("s", pytest.approx(-1 + 0.05 * (seeds - 1)))
    assert marks[2][0] == "D"
    assert marks[3] == ("P", pytest.approx(0.05 * (seeds - 1)))
    assert marks[4] == ("o", 5)
    counts = [text.get_text() for text in axes.texts]
    assert counts[:5] == [f"{n} of {seeds}" for n in (seeds, 0, seeds - 1, 0, seeds)]
    words = [text.get_text() for text in figure.legends[0].texts]
    assert ("95% interval" in words) == ("training" in words) == (seeds > 1)
    arrows = sorted(line.get_marker() for line in axes.lines if line.get_marker() in ("<", ">"))
    assert arrows == ([">"] if seeds == 1 else ["<", ">"])


def test_without_a_statement_the_figure_says_so():
    figure = figure_claims(some_claims(1).iloc[:0])
    assert "no statement can be computed" in figure.axes[0].texts[0].get_text()
    with pytest.raises(ValueError, match="no column where"):
        figure_claims(pd.DataFrame({"statement": []}))


def test_roles_differ_in_grey():
    def luminance(colour):
        linear = np.array(to_rgb(colour)) ** 2.2
        return linear @ (0.2126, 0.7152, 0.0722)

    dark, light = sorted(luminance(colour) for colour in (style.DATA, style.LATENT))
    # The contrast ratio of the accessibility guidelines; 1.4 would be easy to miss.
    assert (light + 0.05) / (dark + 0.05) > 1.8
    assert style.DATA_MARKER != style.LATENT_MARKER


@pytest.mark.slow
def test_figures_import_neither_torch_nor_pyplot():
    code = (
        "import importlib, sys\n"
        f"for module in {MODULES}:\n"
        "    importlib.import_module(f'dgmpipe.figures.{module}')\n"
        "    for name in ('torch', 'matplotlib.pyplot'):\n"
        "        assert name not in sys.modules, f'{module} imports {name}'\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("x", ["noise", "model"])
@pytest.mark.parametrize("greatest", [14, 20, 50, 99, 180, 500, 1000])
def test_a_short_logarithmic_axis_of_a_study_has_plain_numbers_apart(greatest: int, x: str) -> None:
    table = some_study().assign(**{"flow.kl": lambda rows: np.linspace(11, greatest, len(rows))})
    figure = draw_study(table=table, x=x, log_x=False)
    figure.draw_without_rendering()
    axes, *_ = panels(figure)
    axis = axes.yaxis if x == "noise" else axes.xaxis
    low, high = axis.get_view_interval()
    labels = [label for label in axis.get_ticklabels(which="both") if label.get_text()]
    shown = [label for label in labels if low <= float(label.get_text()) <= high]
    assert len(shown) >= 2
    boxes = [label.get_window_extent() for label in shown]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
