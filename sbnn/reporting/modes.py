"""What a quick and a full report compute: how many folds, settings, networks, permutations and resamples."""

from dataclasses import dataclass

from sbnn._checks import check_choice


@dataclass(frozen=True)
class Mode:
    """How much is computed.

    Attributes
    ----------
    name : str
    n_outer, n_inner : int
        Outer folds at most, whose test cells are scored, and inner folds, on which settings are chosen.
    every_penalty : bool
        Whether sparse linear models choose among all penalties, or among every second one.
    more_models : bool
        Whether extra trees and a network of 64 dimensions are scored, too.
    chooses_number : bool
        Whether networks choose their number of genes on inner folds.
    n_repeats : int
        Permutations of each gene, for its importance.
    n_bootstrap : int
        Resamples of donors (or cells) for intervals.
    n_seeds : int
        Fits with other seeds, and as many on other donors, for the stability of genes; 0: none.
    shorten : float
        Epochs of networks and numbers of trees are multiplied by it.
    """

    name: str
    n_outer: int
    n_inner: int
    every_penalty: bool
    more_models: bool
    chooses_number: bool
    n_repeats: int
    n_bootstrap: int
    n_seeds: int
    shorten: float = 1.0


#: "quick" takes one to two minutes for 200 to 500 cells and 1000 genes on two idle cores, "full" an hour or more.
MODES = {
    mode.name: mode
    for mode in (
        Mode("quick", 5, 5, False, False, False, n_repeats=3, n_bootstrap=1000, n_seeds=0),
        Mode("full", 10, 5, True, True, True, n_repeats=10, n_bootstrap=2000, n_seeds=10),
    )
}


def get_mode(mode: str) -> Mode:
    """Return a mode by its name; ValueError for others."""
    return MODES[check_choice(mode, MODES, "mode")]
