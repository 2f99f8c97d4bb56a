import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sbnn.data.preprocessing import Preprocessor, align_genes, normalise_counts
from sbnn.data.variable_genes import find_variable_genes, gene_statistics, select_variable_genes


@pytest.fixture
def counts():
    random = np.random.default_rng(0)
    rate = np.exp(random.uniform(-3, 6, 400))[None] * random.gamma(0.3, 3, (80, 400))
    return random.poisson(rate)


def slow_statistics(counts, threshold, min_cells):
    """The definition, gene by gene."""
    result = []
    for gene in counts.T:
        detected = [count for count in gene if count > threshold]
        if len(detected) < min_cells:
            result.append((np.nan, np.nan))
        else:
            result.append((np.mean(gene <= threshold), np.mean(np.log2(detected))))
    return np.array(result)


@pytest.mark.parametrize("threshold", [0, 5])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_gene_statistics_follow_their_definition(counts, threshold, layout):
    statistics = gene_statistics(layout(counts), threshold, min_cells=10)
    np.testing.assert_allclose(statistics.to_numpy(), slow_statistics(counts, threshold, 10))


def test_selects_exactly_the_genes_above_the_curve(counts):
    selection = find_variable_genes(counts, n_genes=50)
    zero_rate, mean_log = slow_statistics(counts, 0, 10).T
    with np.errstate(invalid="ignore"):
        expected = zero_rate > np.exp(-1.5 * (mean_log - selection.offset)) + 0.02
    assert selection.mask.sum() == 50
    np.testing.assert_array_equal(selection.mask, expected)
    np.testing.assert_array_equal(select_variable_genes(sparse.csr_matrix(counts), n_genes=50), selection.mask)


def test_sparse_counts_are_not_made_dense(counts, monkeypatch):
    matrix, expected = sparse.csr_matrix(counts), select_variable_genes(counts, n_genes=50)
    for method in ("toarray", "todense"):
        monkeypatch.setattr(type(matrix), method, lambda *_: pytest.fail("made dense"))
        monkeypatch.setattr(sparse.csc_matrix, method, lambda *_: pytest.fail("made dense"))
    np.testing.assert_array_equal(select_variable_genes(matrix, n_genes=50), expected)


@pytest.mark.parametrize("n_genes", [0, 401])
def test_refuses_more_genes_than_are_expressed(counts, n_genes):
    with pytest.raises(ValueError, match="n_genes must be (at least 1|between 1 and the)"):
        select_variable_genes(counts, n_genes=n_genes)


def test_the_nearest_number_is_taken_where_no_curve_has_exactly_as_many():
    """Genes that come in pairs lie on one curve: an odd number cannot be had."""
    random = np.random.default_rng(0)
    counts = np.repeat(
        random.poisson(np.exp(random.uniform(-2, 4, 60))[None] * random.gamma(0.3, 3, (90, 60))), 2, axis=1
    )
    with pytest.warns(
        UserWarning, match="n_genes=21: no curve selects exactly 21 genes, the nearest selects 2[02], which"
    ):
        mask = select_variable_genes(counts, n_genes=21)
    assert mask.sum() in (20, 22)
    zero_rate, mean_log = gene_statistics(counts)[["zero_rate", "mean_log"]].to_numpy().T
    selection = find_variable_genes(counts, n_genes=21)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(selection.mask, zero_rate > np.exp(-1.5 * (mean_log - selection.offset)) + 0.02)


def test_refuses_negative_counts(counts):
    with pytest.raises(ValueError, match="must not be negative, the smallest value is -1"):
        select_variable_genes(-np.ones_like(counts), n_genes=5)


def test_normalisation_is_depth_then_logarithm(counts):
    expected = np.log2(1 + counts / counts.sum(1, keepdims=True) * np.median(counts.sum(1)))
    np.testing.assert_allclose(normalise_counts(counts), expected)
    np.testing.assert_allclose(normalise_counts(sparse.csr_matrix(counts)), expected)


def test_a_cell_without_counts_is_refused(counts):
    counts[3] = 0
    with pytest.raises(ValueError, match=r"1 cell\(s\) with zero counts .* in row 3"):
        normalise_counts(counts)


def test_preprocessor_z_scores_and_goes_back(counts):
    features = np.random.default_rng(1).normal(50, 9, (80, 3))
    features[4, 1] = np.nan
    counts = counts[:, counts.sum(0) > 0]
    fitted = Preprocessor().fit(counts, features)
    X, Y = fitted.transform_genes(counts), fitted.transform_features(features)
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(X.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(np.nanstd(Y, 0), 1, atol=1e-5)
    assert np.isnan(Y[4, 1])
    np.testing.assert_allclose(fitted.inverse_transform_features(Y), features, rtol=1e-5)


def test_preprocessor_uses_training_cells_alone(counts):
    counts = counts[:, (counts[:40] > 0).sum(0) > 3]
    features = np.random.default_rng(1).normal(size=(80, 3))
    fitted = Preprocessor().fit(counts[:40], features[:40])
    changed = counts.copy()
    changed[40:] += 100
    refitted = Preprocessor().fit(changed[:40], features[:40])
    np.testing.assert_array_equal(fitted.transform_genes(counts[:40]), refitted.transform_genes(changed[:40]))
    assert fitted.median_depth_ == np.median(counts[:40].sum(1))


def test_a_gene_without_variance_is_named(counts):
    features = np.random.default_rng(1).normal(size=(80, 2))
    expression = np.random.default_rng(2).normal(size=(80, 3))
    expression[:, 1] = 7
    with pytest.raises(ValueError, match=r"genes with zero variance cannot be z-scored: 'Actb'"):
        Preprocessor().fit(features=features, expression=expression, gene_names=["Gad1", "Actb", "Sst"])
    kept = Preprocessor(allow_constant=True).fit(features=features, expression=expression)
    np.testing.assert_array_equal(kept.transform_genes(expression=expression)[:, 1], 0)
    with pytest.raises(ValueError, match="features without any observed value: '1'"):
        Preprocessor().fit(features=features * [[1, np.nan]], expression=expression[:, ::2])


def test_fit_refuses_tables_of_other_cells_and_names_what_it_refuses():
    with pytest.raises(ValueError, match="must have the same cells, got 2 and 3 rows"):
        Preprocessor().fit([[1, 2], [3, 5]], [[1.0], [2.0], [3.0]])
    Y = np.array([[1.0, np.nan], [2.0, np.nan], [4.0, np.nan]])
    with pytest.raises(ValueError, match="features without any observed value: 'tau'"):
        Preprocessor().fit([[1, 2], [3, 5], [4, 9]], Y, feature_names=["rmp", "tau"])


def test_genes_that_are_present_are_told_by_a_mask():
    fitted = Preprocessor().fit([[1, 2, 4], [3, 5, 4], [4, 9, 7]], [[1.0], [2.0], [4.0]])
    assert fitted.transform_genes([[1, 2]], present=np.array([True, True, False])).shape == (1, 3)
    with pytest.raises(ValueError, match=r"present must be a bool array of shape \(3,\), got int64 \(2,\)"):
        fitted.transform_genes([[1, 2]], present=np.array([0, 1]))


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csc_array])
def test_a_count_stored_in_parts_is_their_sum(counts, layout):
    kind = sparse.csr_matrix if layout is sparse.csr_matrix else sparse.csc_matrix
    whole = kind(counts)
    parts = layout((np.repeat(whole.data, 2) / 2, np.repeat(whole.indices, 2), 2 * whole.indptr), whole.shape)
    pd.testing.assert_frame_equal(gene_statistics(parts, threshold=3), gene_statistics(counts, threshold=3))
    assert parts.nnz == 2 * whole.nnz  # the table itself is not changed


@pytest.mark.parametrize("threshold", [np.nan, np.inf, -1, "30", None])
def test_the_threshold_is_a_number(counts, threshold):
    with pytest.raises(ValueError, match="threshold must be"):
        gene_statistics(counts, threshold)


def test_a_fit_that_fails_leaves_the_earlier_one_whole(counts):
    features = np.random.default_rng(0).standard_normal((len(counts), 3))
    kept = counts[:, np.ptp(counts, axis=0) > 0]
    kept = kept[:, :50][kept[:, :50].sum(axis=1) > 0]
    preprocessor = Preprocessor(allow_constant=True).fit(kept, features[: len(kept)])
    before = preprocessor.transform_genes(kept)
    with pytest.raises(ValueError, match="must have the same cells"):
        preprocessor.fit(kept[::-1] * 7, features[: len(kept) - 1])
    np.testing.assert_array_equal(preprocessor.transform_genes(kept), before)


def test_training_genes_are_found_by_name_among_others():
    """Genes that the training cells lack may have any names, also twice; a training gene twice is ambiguous."""
    columns, present = align_genes(["Sst", "Vip", "Gad1"], ["Xist", "Gad1", "Xist", "Sst"])
    np.testing.assert_array_equal(columns, [3, 1])
    np.testing.assert_array_equal(present, [True, False, True])
    columns, present = align_genes(np.array(["Sst", "Vip"]), np.array(["Xist"]))
    assert not len(columns) and not present.any()
    with pytest.raises(ValueError, match="duplicate genes in cells: 'Vip'; every name must be unique"):
        align_genes(["Sst", "Vip", "Gad1"], ["Vip", "Gad1", "Vip", "Sst"])
