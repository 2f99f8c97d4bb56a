"""Drawings of intervals, and figures as images."""

import base64
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sbnn.reporting.charts import LOWEST, Mark, draw_axis, draw_intervals, picture, scale_for


def test_a_scale_holds_zero_and_all_values_in_order():
    scale = scale_for([0.2, 0.4, np.nan])
    places = [scale.place(value) for value in (0, 0.2, 0.4)]
    assert 1 < places[0] < places[1] < places[2] < 99
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.02)
    assert 0.0 in scale.ticks and all(scale.low <= tick <= scale.high for tick in scale.ticks)


def test_failures_do_not_hide_the_rest_unless_asked():
    assert scale_for([-8.0, 0.4]).low > LOWEST - 0.1
    assert scale_for([-8.0, 0.4], lowest=-np.inf).low < -8
    assert scale_for([-8.0, 0.4]).place(-8.0) == 1


def test_nothing_known_is_still_a_scale():
    assert scale_for([np.nan]).place(0) < scale_for([]).place(0.1)


def test_intervals_are_drawn_where_the_scale_puts_them():
    scale = scale_for([0.0, 1.0])
    drawn = draw_intervals([Mark(0.5, 0.25, 0.75), Mark(0.5, np.nan, np.nan, "class"), Mark(np.nan, 0, 1)], scale)
    (low, high) = re.findall(r'class="range model" x1="([\d.]+)%" x2="([\d.]+)%"', drawn)[0]
    assert (float(low), float(high)) == (scale.place(0.25), scale.place(0.75))
    assert re.findall(r'circle class="(\w+)" cx="([\d.]+)%"', drawn) == [
        ("model", f"{scale.place(0.5)}"),
        ("class", f"{scale.place(0.5)}"),
    ]
    assert drawn.count('class="range') == 1 and 'aria-hidden="true"' in drawn
    axis = draw_axis(scale_for([-0.3, 0.3]))
    assert "−0.2" in axis and ">0<" in axis


def test_a_figure_becomes_an_image_that_requests_nothing_and_is_closed():
    figure, axis = plt.subplots()
    axis.plot([0, 1])
    address = picture(figure)
    assert address.startswith("data:image/svg+xml;base64,")
    assert b"<svg" in base64.b64decode(address.partition(",")[2])
    assert not plt.fignum_exists(figure.number)
