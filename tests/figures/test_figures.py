"""What holds for every figure."""

import io
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import figure_cases
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import require_real
from matplotlib.colors import to_hex
from matplotlib.image import imread
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.tri import Triangulation

from sbnn import load_dataset, load_results
from sbnn.data.published.scala import paper_names
from sbnn.figures.drawing import enclosed
from sbnn.figures.maps import draw_cells, masked_triangulation
from sbnn.figures.style import (
    FULL_WIDTH,
    MODEL_STYLES,
    SMALLEST_TEXT,
    axes_at,
    family_colors,
    model_styles,
    show_whole_figures,
    use_style,
)

CALLS = [
    pytest.param(call, id=f"{name}-{number}")
    for name, calls in figure_cases.CASES.items()
    for number, call in enumerate(calls)
]


@pytest.fixture(autouse=True)
def style():
    use_style()
    yield
    plt.close("all")


@pytest.fixture(params=CALLS)
def figure(request):
    """Every figure."""
    return request.param()


def positions(figure):
    """Where the axes are once the figure is drawn."""
    figure.draw_without_rendering()
    return np.array([axis.get_position().bounds for axis in figure.axes])


def test_every_figure_function_has_a_case():
    assert set(figure_cases.public_figure_functions()) == set(figure_cases.CASES) - {"PairedModel.plot"}


@pytest.mark.parametrize("constrained", [False, True], ids=["", "constrained layout is the reader's default"])
def test_saving_does_not_move_axes(figure, constrained, tmp_path):
    """PNG, PDF and the picture in the notebook are one picture, in whatever order they are made."""
    before = positions(figure)
    with plt.rc_context({"figure.constrained_layout.use": constrained}):
        for name in ("first.png", "then.pdf", "again.png"):
            figure.savefig(tmp_path / name, dpi=100)
            np.testing.assert_array_equal(positions(figure), before)
        shown_as_in_a_notebook(figure)
        np.testing.assert_array_equal(positions(figure), before)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def shown_as_in_a_notebook(figure, **settings):
    """The PNG that Jupyter shows."""
    pylabtools = pytest.importorskip("IPython.core.pylabtools")
    return pylabtools.print_figure(figure, **settings)


def test_notebooks_show_the_picture_that_is_saved():
    """Jupyter crops figures unless told otherwise; afterwards what it shows is the saved picture, pixel by pixel."""
    pytest.importorskip("matplotlib_inline")
    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib_inline.config import InlineBackend

    shell = InteractiveShell.instance()
    try:
        show_whole_figures()
        settings = InlineBackend.instance().print_figure_kwargs
        figure = figure_cases.CASES["plot_latent_space"][0]()
        saved = io.BytesIO()
        figure.savefig(saved, dpi=figure.dpi)
        saved.seek(0)
        shown = io.BytesIO(shown_as_in_a_notebook(figure, **settings))
        np.testing.assert_array_equal(imread(shown), imread(saved))
    finally:
        shell.clear_instance()
        InlineBackend.clear_instance()


def visible_texts(figure):
    """Texts of a figure that are seen, tick labels included."""
    figure.draw_without_rendering()
    hidden = [tick for axis in figure.axes for tick in ticks_out_of_sight(axis)]
    found = figure.findobj(Text)
    return [text for text in found if text.get_visible() and text.get_text().strip() and text not in hidden]


def ticks_out_of_sight(axis):
    """Labels of ticks beyond the limits of axes, and of axes that are switched off."""
    labels = []
    for scale in (axis.xaxis, axis.yaxis):
        low, high = sorted(scale.get_view_interval())
        for tick in (*scale.majorTicks, *scale.minorTicks):
            if not axis.axison or not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                labels += [tick.label1, tick.label2]
    return labels


def box_of(text):
    """Extent of a text without the line that leads to it."""
    return Text.get_window_extent(text)


def test_texts_are_legible_and_figures_fit_a_page(figure):
    sizes = {text.get_text(): text.get_fontsize() for text in visible_texts(figure)}
    assert len(sizes) > 3 and min(sizes.values()) >= SMALLEST_TEXT, sizes
    assert figure.get_size_inches()[0] <= FULL_WIDTH + 1e-9


def test_nothing_is_cut_off(figure):
    page = figure.bbox
    for text in visible_texts(figure):
        box = box_of(text)
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1, text.get_text()


def test_no_text_covers_another(figure):
    texts = visible_texts(figure)
    boxes = [box_of(text) for text in texts]
    for first in range(len(texts)):
        for second in range(first):
            (a, b), (x, y) = (boxes[first], boxes[second]), (texts[first], texts[second])
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(overlap) < 1.5, (x.get_text(), y.get_text())


def test_legends_lie_outside_the_axes(figure):
    figure.draw_without_rendering()
    legends = [legend for legend in figure.findobj(Legend) if legend.get_visible()]
    for legend in legends:
        box = legend.get_window_extent()
        for axis in figure.axes:
            panel = axis.get_window_extent()
            overlap = min(box.x1, panel.x1) - max(box.x0, panel.x0), min(box.y1, panel.y1) - max(box.y0, panel.y0)
            assert min(overlap) < 1.5, [text.get_text() for text in legend.get_texts()]


SINGLE = (
    "plot_feature_scores", "plot_gene_frequencies", "plot_variable_genes", "plot_linear_path", "plot_type_legend",
    "plot_learning_curve",
    "plot_honest_scores",
)  # fmt: skip
#: How many panels have letters; the README's picture is read from left to right without.
N_PANELS = {
    "plot_training_curves": (2, 3), "plot_bottleneck_comparison": (0, 2), "plot_published_curves": (2,),
    "plot_feature_distributions": (2,), "plot_latent_space": (3, 2), "plot_seeds": (2,), "plot_embeddings": (2,),
    "plot_double_biplot": (2,), "plot_external_cohort": (7,), "PairedModel.plot": (3, 4), "plot_overview": (0,),
    "plot_cell_map": (3, 4, 4),
    "plot_one_fold": (2,), "plot_stability": (3, 4), "plot_gene_importance": (2, 2, 2), "plot_gene_number": (2, 2, 2),
    "plot_disagreement": (3, 3), "plot_beyond_class": (2, 1, 2), "plot_matched_controls": (3, 3, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", figure_cases.CASES)
def test_panels_have_letters_in_order(name):
    for number, call in enumerate(figure_cases.CASES[name]):
        letters = [text for text in call().texts if text.get_gid() == "panel letter"]
        expected = "abcdefg"[: 0 if name in SINGLE else N_PANELS[name][number]]
        assert "".join(text.get_text() for text in letters) == expected
        assert all(text.get_fontweight() == "bold" for text in letters)


def colors_in(figure):
    """Colours of lines, bars and texts."""
    colors = [line.get_color() for line in figure.findobj(Line2D)]
    colors += [patch.get_facecolor() for patch in figure.findobj(Patch)]
    colors += [text.get_color() for text in figure.findobj(Text)]
    return {to_hex(color) for color in colors if not isinstance(color, np.ndarray)}


WITH_MODELS = (
    "plot_training_curves", "plot_bottleneck_comparison", "plot_published_curves", "plot_feature_scores",
    "plot_gene_frequencies", "plot_linear_path", "plot_seeds", "plot_external_cohort", "plot_one_fold",
    "plot_stability", "plot_beyond_class", "plot_matched_controls", "plot_learning_curve", "plot_honest_scores",
)  # fmt: skip


@pytest.mark.parametrize("name", figure_cases.CASES)
def test_models_have_their_colours_from_one_place(name, monkeypatch):
    """Other colours there are other colours in every figure that shows models."""
    call = figure_cases.CASES[name][-1]
    usual = {style.color for style in MODEL_STYLES.values()}
    assert bool(usual & colors_in(call())) == (name in WITH_MODELS)
    for number, model in enumerate(list(MODEL_STYLES)):
        style = MODEL_STYLES[model]
        monkeypatch.setitem(MODEL_STYLES, model, style._replace(color=f"#0000{number + 16:02x}"))
    assert not usual & colors_in(call())


def test_models_can_be_told_apart():
    looks = [(style.color, str(style.linestyle)) for style in MODEL_STYLES.values()]
    assert len(set(looks)) == len(looks)
    styles = model_styles(["mine", "sBNN-2", "yours"])
    assert styles["sBNN-2"] is MODEL_STYLES["sBNN-2"] and len({style.color for style in styles.values()}) == 3


def test_figures_are_the_same_bytes_twice(tmp_path):
    for name, calls in figure_cases.CASES.items():
        figures = [calls[-1]() for _ in range(2)]
        for suffix, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None, "Producer": None})):
            paths = [tmp_path / f"{turn}.{suffix}" for turn in range(2)]
            for figure, path in zip(figures, paths, strict=True):
                figure.savefig(path, dpi=60, metadata=metadata)
            assert paths[0].read_bytes() == paths[1].read_bytes(), (name, suffix)
        plt.close("all")


RESULTS = sorted((Path(__file__).resolve().parents[2] / "KerasSavedModels").glob("scala_*/sbnn_latent.pickle"))


def nudged(values, random):
    """Values whose last bits are others, as those of another processor are."""
    if isinstance(values, dict):
        return {name: nudged(value, random) for name, value in values.items()}
    if isinstance(values, pd.DataFrame):
        return values.apply(lambda column: nudged(column, random))
    if getattr(values, "dtype", None) is not None and values.dtype.kind == "f":
        return values * (1 + 1e-15 * random.standard_normal(values.shape))  # in double precision
    return values


MAPS = ("plot_latent_space", "plot_cell_map", "plot_seeds", "plot_embeddings", "plot_overview", "plot_one_fold")


@pytest.mark.parametrize("name", MAPS)
def test_last_bits_are_not_drawn(name, tmp_path, monkeypatch):
    """A map whose coordinates and values were computed on another processor is the same file."""
    usual = {source: getattr(figure_cases, source) for source in ("panel", "seeds", "one_fold", "TRUTH")}
    contents = []
    for seed in (None, 0, 1):
        random = np.random.default_rng(seed)
        if seed is not None:
            change = partial(nudged, random=random)
            changed = {
                "panel": lambda change=change, **more: change(usual["panel"](**more)),
                "seeds": lambda change=change: change(usual["seeds"]()),
                "one_fold": lambda change=change: SimpleNamespace(**change(vars(usual["one_fold"]()))),
                "TRUTH": SimpleNamespace(coordinates=change(usual["TRUTH"].coordinates)),
            }
            for source, value in changed.items():
                monkeypatch.setattr(figure_cases, source, value)
        figure = figure_cases.CASES[name][-1]()
        monkeypatch.undo()
        for ending, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None, "Producer": None})):
            figure.savefig(tmp_path / f"figure.{ending}", metadata=metadata)
        contents.append([(tmp_path / f"figure.{ending}").read_bytes() for ending in ("png", "pdf")])
    assert contents[1] == contents[0] and contents[2] == contents[0]


@pytest.mark.parametrize("path", RESULTS, ids=[path.parent.name for path in RESULTS])
def test_names_of_families_never_collide_on_real_maps(path):
    """All committed maps, at the sizes at which figures draw them; every family is named, within the axes."""
    cells = load_results(path.with_name("cells.pickle"))["cells"]
    networks, linear = load_results(path), load_results(path.with_name("linear_latent.pickle"))
    maps = [networks["coordinates_2"], networks["coordinates_64"], linear["coordinates_sRRR-2"]]
    maps += [linear["coordinates_sRRR-full"], cells[["tsne_x1", "tsne_x2"]], cells[["tsne_y1", "tsne_y2"]]]
    for coordinates in maps:
        for size in (2.3, 3.5):
            axis = axes_at(plt.figure(figsize=(size, size), layout="none"), 0, 0, size, size)
            draw_cells(axis, coordinates.to_numpy(), cells)
            names = [text for text in visible_texts(axis.figure) if text.get_gid() == "cluster label"]
            assert {text.get_text() for text in names} == set(cells["cell_family"])
            boxes = [box_of(text) for text in names]
            assert not any(a.overlaps(b) for number, a in enumerate(boxes) for b in boxes[:number])
            assert all(axis.bbox.x0 <= b.x0 and b.x1 <= axis.bbox.x1 and axis.bbox.y0 <= b.y0 for b in boxes)


@pytest.mark.parametrize("path", RESULTS, ids=[path.parent.name for path in RESULTS])
def test_real_continents_have_no_holes(path):
    """Masked triangles of the two-dimensional maps reach the coast."""
    for name, what in (("sbnn_latent", "coordinates_2"), ("linear_latent", "coordinates_sRRR-2")):
        coordinates = load_results(path.with_name(f"{name}.pickle"))[what].to_numpy()
        triangulation = masked_triangulation(coordinates, n_longest=round(20 * len(coordinates) / 1213))
        assert 0 < triangulation.mask.sum() < 0.1 * len(triangulation.mask)
        whole = Triangulation(triangulation.x, triangulation.y)  # that of the masked one knows no masked neighbours
        assert list(enclosed(whole.neighbors, triangulation.mask)) == []


def test_families_have_their_own_colour_or_that_of_their_largest_type():
    cells = figure_cases.cells()
    modal = cells.groupby("cell_family")["type_color"].agg(lambda colors: colors.mode()[0]).to_dict()
    assert family_colors(cells) == modal
    assert set(family_colors(cells.assign(family_color="#123456")).values()) == {"#123456"}


def test_pt_neurons_have_one_name():
    """What the cohort at 33-34 C calls ET is PT in the paper, in data as in committed results."""
    assert paper_names(["ET", "L5 ET_1", "Sst Etv1"]).tolist() == ["PT", "L5 PT_1", "Sst Etv1"]
    for path in RESULTS:
        cells = load_results(path.with_name("cells.pickle"))["cells"]
        assert "PT" in set(cells["cell_family"]) and not cells["cell_type"].str.contains("ET").any()
    require_real("scala_2020_phys_temp")
    data = load_dataset("scala_2020_phys_temp")
    assert "PT" in data.cell_families and "ET" not in data.cell_families and data.family_colors["PT"] == "#0D5B78"
    assert "L5 PT_1" in data.type_colors
