import numpy as np
import pytest

from sbnn import simulate_patchseq


def explained_by_types(values, types):
    means = {name: values[types == name].mean(0) for name in np.unique(types)}
    return 1 - np.sum((values - np.array([means[name] for name in types])) ** 2) / np.sum(values**2)


def test_is_reproducible_and_has_the_sizes_asked_for():
    (first, truth), (second, _) = (simulate_patchseq(n_cells=50, n_genes=30, random_state=3) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert first.X.shape == (50, 30) and truth.informative.sum() == 15 and truth.coordinates.shape == (50, 2)
    assert simulate_patchseq(n_cells=50, n_genes=30, random_state=4)[0].fingerprint != first.fingerprint


def test_informative_genes_follow_the_coordinates_and_others_do_not():
    data, truth = simulate_patchseq()
    basis = np.column_stack([truth.coordinates**power for power in (1, 2, 3)] + [np.ones(600)])
    fitted = basis @ np.linalg.lstsq(basis, data.X, rcond=None)[0]
    r2 = 1 - ((data.X - fitted) ** 2).mean(0)
    assert r2[truth.informative].min() > 3 * r2[~truth.informative].max()


def test_without_variation_within_types_only_the_type_is_left():
    data, truth = simulate_patchseq(within_type=0)
    assert len(np.unique(truth.coordinates, axis=0)) == 8
    full = simulate_patchseq(within_type=2.0)[0]
    assert explained_by_types(data.Y, data.cell_types) > explained_by_types(full.Y, full.cell_types) + 0.1


def test_missing_values_are_missing():
    data = simulate_patchseq(missing=0.2)[0]
    assert np.isnan(data.Y).mean() == pytest.approx(0.2, abs=0.02)
    assert np.isfinite(data.X).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_informative": 600}, "n_informative must be between 1 and n_genes=500"),
        ({"missing": 1.0}, "missing must be in"),
        ({"n_types": 700}, "must not exceed n_cells=600"),
    ],
)
def test_contradictions_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        simulate_patchseq(**sizes)
