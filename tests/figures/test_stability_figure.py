"""That points, intervals and steps of the figure of stability are where they should be according to the tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_cases import stability
from matplotlib.collections import LineCollection

from sbnn import ReducedRankRegressor, gene_stability
from sbnn.figures.stability import plot_stability
from sbnn.figures.style import MODEL_STYLES


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def points(axis):
    """Points of an axis: {(value, row): marker}."""
    lines = [line for line in axis.get_lines() if line.get_marker() not in ("", "None", None)]
    return {(round(line.get_xdata()[0], 6), round(line.get_ydata()[0], 6)): line for line in lines}


def ranges(axis):
    """Ends of the intervals by row."""
    found = [one for one in axis.collections if isinstance(one, LineCollection)]
    segments = [one.get_segments()[0] for one in found]
    return {round(segment[0, 1], 6): tuple(segment[:, 0].round(6)) for segment in segments}


def test_index_and_interval_of_each_model():
    axis = plot_stability(stability("donor")).axes[0]
    assert set(points(axis)) == {(0.9, 0), (0.65, 1), (0.4, 2)}
    assert ranges(axis) == {0: (0.8, 0.95), 1: (0.55, 0.7), 2: (0.3, 0.45)}
    colors = [points(axis)[key].get_color() for key in ((0.9, 0), (0.4, 2))]
    assert colors == [MODEL_STYLES[name].color for name in ("sBNN-2", "sRRR-2")]


def test_seeds_and_animals_are_side_by_side_whatever_their_order():
    both = [stability("donor"), stability("seed", ("sBNN-2",))]
    figures = [plot_stability(both), plot_stability(both[::-1])]
    for figure in figures:
        drawn = points(figure.axes[0])
        seed, donor = drawn[0.9, -0.17], drawn[0.9, 0.17]
        assert (seed.get_marker(), donor.get_marker()) == ("o", "D")
        assert seed.get_markerfacecolor() == seed.get_color() and donor.get_markerfacecolor() == "white"
        assert len(drawn) == 4  # the other models are in one result only
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [
            "other seeds, 4 runs",
            "other animals, 4 runs",
        ]


@pytest.mark.parametrize(("place", "value"), [(1, "procrustes_r2"), (2, "common_neighbours")])
def test_maps_show_mean_and_range_over_pairs(place, value):
    result = stability("donor")
    axis = plot_stability(result).axes[place]
    by_model = result.pairs.groupby("model", sort=False)[value]
    assert [x for x, _ in points(axis)] == pytest.approx(by_model.mean().tolist(), abs=1e-6)
    assert list(ranges(axis).values()) == [
        pytest.approx((low, high), abs=1e-6) for low, high in zip(by_model.min(), by_model.max(), strict=True)
    ]
    assert len(ranges(axis)) == 2  # one model has no map


def test_steps_end_where_the_genes_of_a_frequency_end():
    result = stability("seed", ("sBNN-2",))  # two genes in all runs, two in three quarters, two in half, two in one
    (line,) = plot_stability(result).axes[3].get_lines()
    number, share = line.get_data()
    for rank, frequency in enumerate([1, 1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25], start=1):
        assert share[np.flatnonzero(number == rank)[0]] == frequency  # drawn from the rank before to this one
    assert line.get_drawstyle() == "steps-pre" and (number[-1], share[-1]) == (8, 0)


def test_a_result_of_models_without_genes_or_maps_is_drawn(small, tmp_path):
    models = {"none": ReducedRankRegressor(2, 50.0), "one axis": ReducedRankRegressor(1, 0.4)}
    figure = plot_stability(gene_stability(small[0], models, "donor", 2, progress=False))
    figure.savefig(tmp_path / "figure.png")
    assert len(points(figure.axes[0])) == 1  # two runs have an index without interval
    assert len(points(figure.axes[1])) == 0
    alone = plot_stability(gene_stability(small[0], {"none": models["none"]}, "donor", 2, progress=False))
    alone.savefig(tmp_path / "alone.png")


def test_an_index_below_zero_is_within_the_axes():
    result = stability("seed")
    result.index.loc[0, ["nogueira", "low", "high"]] = -0.12, -0.26, 0.02
    assert plot_stability(result).axes[0].get_xlim()[0] == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (pd.DataFrame(), "stability must be a GeneStability, or a list of one or two"),
        ([pd.DataFrame()], "stability must be a GeneStability, or a list of one or two"),
        ([], "one result, or one of seeds and one of donors, got \\[\\]"),
        ([stability("seed"), stability("seed")], "got \\['seed', 'seed'\\]"),
    ],
)
def test_other_arguments_are_refused(results, message):
    with pytest.raises(ValueError, match=message):
        plot_stability(results)
