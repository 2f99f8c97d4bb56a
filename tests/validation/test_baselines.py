"""What a cell's class alone predicts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold

from sbnn import ClassMean, ReducedRankRegressor, cross_validate
from sbnn.models.r2 import r2


def test_predictions_are_means_of_the_class_and_of_all_where_it_is_unknown():
    labels = ["a", "b", "a", "b", "c"]
    Y = np.array([[1.0, 10], [2, np.nan], [3, 30], [4, np.nan], [5, 50]])
    model = ClassMean().fit(labels, Y)
    np.testing.assert_allclose(model.predict(["a", "b", "x", "aa"]), [[2, 20], [3, 30], [3, 30], [3, 30]])
    np.testing.assert_array_equal(model.predict(np.array([["c"]])), [[5, 50]])
    some = ClassMean().fit(["a", "unknown", "unknown"], Y[:3])
    np.testing.assert_allclose(some.predict(["unknown", "a"]), [[2, 20], [1, 10]])


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_cross_validation_gives_classes_instead_of_genes(small, tmp_path, n_jobs):
    data, _ = small
    models = {
        "family mean": ClassMean("cell_families"),
        "type mean": ClassMean("cell_types"),
        "sRRR-2": ReducedRankRegressor(2, 0.2),
    }
    settings = {"folds": KFold(3), "progress": False, "store": tmp_path}
    result = cross_validate(data, models, n_jobs=n_jobs, **settings)
    for name, labels in (("family mean", data.cell_families), ("type mean", data.cell_types)):
        for number, fold in enumerate(result.folds):
            means = pd.DataFrame(data.Y[fold.train].astype(float)).groupby(labels[fold.train]).mean()
            expected = r2(data.Y[fold.test], means.loc[labels[fold.test]].to_numpy(), data.Y[fold.train].mean(axis=0))
            row = result.scores[result.scores["model"].eq(name) & result.scores["fold"].eq(number)]
            assert row["r2_test"].item() == pytest.approx(expected, abs=1e-6)
    assert len(result.predictions.query("model == 'type mean'")) == data.n_cells
    again = cross_validate(data, models, **settings)
    assert again.n_fitted == 0
    pd.testing.assert_frame_equal(again.scores, result.scores, check_dtype=False)


def test_classes_have_to_be_known(small):
    unnamed = replace(small[0], cell_families=None, family_colors=None)
    with pytest.raises(ValueError, match="needs data.cell_families, which is None"):
        cross_validate(unnamed, {"mean": ClassMean()}, progress=False)
    with pytest.raises(ValueError, match="unknown of 'donors'"):
        cross_validate(small[0], {"mean": ClassMean(of="donors")}, progress=False)
    with pytest.raises(ValueError, match=r"X must have one entry per cell of y \(3\), got 2"):
        ClassMean().fit(["a", "b"], np.zeros((3, 1)))


@pytest.mark.real_data
def test_known_answers_of_class_means(m1):
    """method.md, section 10: family .407, type .480 on the paper's folds."""
    models = {"family": ClassMean("cell_families"), "type": ClassMean("cell_types")}
    scores = cross_validate(m1, models, progress=False, keep=[]).scores.groupby("model")["r2_test"].mean()
    assert scores["family"] == pytest.approx(0.407, abs=0.001) and scores["type"] == pytest.approx(0.480, abs=0.001)
