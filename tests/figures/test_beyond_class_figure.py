"""The figure of what a map adds to classes shows every number of its table where it belongs."""

import figure_cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from sbnn.figures.beyond_class import plot_beyond_class
from sbnn.figures.style import MODEL_STYLES
from sbnn.validation.class_scores import ALL_CELLS
from sbnn.validation.transfer import ALL_FEATURES

COLOR = MODEL_STYLES["sBNN-2"].color


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def rows_drawn(axis):
    """Ends of the lines, and their colour, from top to bottom."""
    drawn = {}
    for lines in axis.findobj(LineCollection):
        for segment in lines.get_segments():
            drawn[round(float(segment[0, 1]), 3)] = (*segment[:, 0], to_hex(lines.get_color()[0]))
    return [drawn[place] for place in sorted(drawn)]


def expected_rows(table):
    """Rows of a panel: the largest gain first."""
    return table.sort_values("gain", ascending=False)


def test_scores_gains_and_intervals_are_those_of_the_table():
    found = figure_cases.beyond()
    figure = plot_beyond_class(found)
    gains = found.gains
    features = expected_rows(gains[gains["feature"] != ALL_FEATURES])
    families = expected_rows(gains[(gains["family"] != ALL_CELLS) & (gains["n_units"] > 1)])
    whole = gains[(gains["family"] == ALL_CELLS) & (gains["feature"] == ALL_FEATURES)]
    for axes, parts, names in (
        (figure.axes[:2], (whole, features), ["all features", *features["feature"]]),
        (figure.axes[2:], (families,), [f"{name} (100)" for name in families["family"]]),
    ):
        rows = [row for part in parts for row in part.itertuples()]
        assert [text.get_text() for text in axes[0].get_yticklabels()] == names
        scores, intervals = (rows_drawn(axis) for axis in axes)
        for row, score, interval in zip(rows, scores, intervals, strict=True):
            np.testing.assert_allclose(score[:2], (row.r2_class, row.r2_both), atol=1e-5)
            np.testing.assert_allclose(interval[:2], (row.low, row.high), atol=1e-5)
            assert (score[2] == COLOR) == (interval[2] == COLOR) == (row.q < 0.05)
        points = sorted((y, x) for line in axes[1].lines for x, y in line.get_xydata() if line.get_marker() == "o")
        np.testing.assert_allclose([x for _, x in points], [row.gain for row in rows], atol=1e-5)


def test_the_message_counts_what_is_significant():
    found = figure_cases.beyond()
    features = (found.by_feature["q"] < 0.05).sum()
    families = (found.by_family["q"] < 0.05).sum()
    title = plot_beyond_class(found).texts
    expected = f"The map of sBNN-2 adds to a cell's family in {features} of 6 features and {families} of 3 families"
    assert expected in [text.get_text() for text in title] and 0 < features < 6


def test_low_scores_stay_on_the_page():
    found = figure_cases.beyond()
    found.gains.loc[2, ["r2_class", "r2_both"]] = [-20.0, -0.2]
    axis = plot_beyond_class(found).axes[0]
    assert axis.get_xlim()[0] > -0.6


def test_a_map_that_was_not_scored_is_refused():
    two = figure_cases.beyond(models=("sBNN-2", "sRRR-2"))
    for found, model, message in (
        (two, None, "one whose map was scored, 'sBNN-2', 'sRRR-2': give the name of one"),
        (two, "PCA", "got 'PCA'"),
        (figure_cases.beyond(models=("sBNN-2",)), "sRRR-2", "got 'sRRR-2'"),
    ):
        with pytest.raises(ValueError, match=message):
            plot_beyond_class(found, model)
    none = figure_cases.beyond()
    none.gains = none.gains.iloc[:0]
    with pytest.raises(ValueError, match="needs coordinates of cells"):
        plot_beyond_class(none)
