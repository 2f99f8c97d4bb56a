"""What holds for every figure."""

import io

import figure_cases
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.image import imread

from sbnn.style import show_whole_figures, use_style

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
