"""The small CITE-seq data set from the file to scores: without types, without donors, UMIs."""

import numpy as np
import pytest
from conftest import require_real
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from sbnn import ReducedRankRegressor, cross_validate, default_network, load_dataset
from sbnn.data.published.mimitou import load_mimitou
from sbnn.data.variable_genes import find_variable_genes
from sbnn.models.schedules import SCHEDULES
from sbnn.validation.comparison import final_scores
from sbnn.validation.folds import make_folds, view_fold

pytestmark = pytest.mark.real_data


def test_models_are_cross_validated_within_folds():
    require_real("ctcl_2019")
    data = load_dataset("ctcl_2019")
    network = default_network(data.n_cells).set_params(n_networks=2, hidden=(32, 16))
    assert network.schedule == "small"
    network.set_params(schedule=SCHEDULES["small"].shortened(0.02))
    models = {"network": network, "sRRR-2": ReducedRankRegressor(2, 0.4, relaxed=True), "ridge": Ridge(1000.0)}
    folds = [(fold.train, fold.test) for fold in make_folds(data, KFold(5, shuffle=True, random_state=0))][:1]
    result = cross_validate(data, models, folds, within_fold=True, n_jobs=1, progress=False)
    final = final_scores(result.scores).set_index("model")
    assert final.index.tolist() == list(models) and np.isfinite(final["r2_test"]).all()
    assert final.loc["network", "n_selected"] == 25 and final.loc[["sRRR-2", "ridge"], "r2_test"].min() > 0.1
    logs, train = data.features, folds[0][0]
    np.testing.assert_allclose(
        view_fold(data, result.folds[0], within_fold=True).Y,
        (logs - logs[train].mean(axis=0)) / logs[train].std(axis=0),
        atol=1e-4,
    )
    assert result.predictions.query("model == 'ridge'")["cell"].tolist() == data.cell_names[folds[0][1]].tolist()


def test_without_donors_the_error_says_what_to_do():
    require_real("ctcl_2019")
    with pytest.raises(ValueError, match="need data.donors, which is None: give the animal .* folds='paper'"):
        cross_validate(load_dataset("ctcl_2019"), {"ridge": Ridge()}, "donor")


def test_each_fold_chooses_among_all_genes_of_its_training_cells():
    require_real("ctcl_2019")
    data = load_mimitou(n_genes=None)
    fold = make_folds(data, KFold(5, shuffle=True, random_state=0))[0]
    view = view_fold(data, fold, within_fold=True, n_variable_genes=1000)
    np.testing.assert_array_equal(view.genes, find_variable_genes(data.counts[fold.train], 1000).mask)
    assert abs(view.X.shape[1] - 1000) < 10
    assert (view.genes & ~find_variable_genes(data.counts, 1000).mask).any(), "the test cells would change the choice"
