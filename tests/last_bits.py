"""What another processor does to a computation: its last bits differ.

`SBNN_LAST_BITS=1 python -m pytest` changes initial weights by some 1e-7 of their size and the tables of linear models
by some 1e-14, the same way each time for one number. A test that fails with some number hangs on the last bits of its
machine, and needs a margin.
"""

import os

import numpy as np


def _perturbed(array, size, seed):
    """Return an array with every number changed by a relative amount of about `size`."""
    noise = np.random.default_rng([seed, array.size]).standard_normal(array.shape)
    return (array * (1 + size * noise)).astype(array.dtype)


def change_last_bits(seed):
    """Perturb what networks and linear models start from, in this process."""
    import sbnn.models.reduced_rank
    from sbnn.models import network

    draw, check = network.initial_weights, sbnn.models.reduced_rank.check_matrix

    def initial_weights(sizes, generators):
        return [
            np.stack([_perturbed(own, 1e-7, seed) for own in weight]) if weight.ndim == 3 else weight
            for weight in draw(sizes, generators)
        ]

    network.initial_weights = initial_weights
    sbnn.models.reduced_rank.check_matrix = lambda X, *rest: _perturbed(check(X, *rest), 1e-14, seed)


if os.environ.get("SBNN_LAST_BITS"):
    change_last_bits(int(os.environ["SBNN_LAST_BITS"]))
