"""A model that takes counts and gives units, finds genes by name, judges new cells, and lives in one file."""

import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold

from sbnn import PairedModel, ReducedRankRegressor, SparseBottleneckRegressor, load_model, simulate_patchseq
from sbnn.models.default_network import default_network
from sbnn.models.schedules import Schedule, Stage
from sbnn.own_cells import paired_model

STAGES = Schedule("test", (Stage("finetuned", 40, 3e-3), Stage("pruned", 20, 3e-3)))
NETWORK = SparseBottleneckRegressor(hidden=(32, 16), n_selected=10, schedule=STAGES, group_lasso=0.03)


@pytest.fixture(scope="module")
def cells():
    data, _ = simulate_patchseq(n_cells=400, n_genes=80, n_features=6, n_informative=10, n_types=4, random_state=3)
    features = data.features * np.array([1, 10, 100, 1000, 0.1, 0.01]) + np.array([0, 5, -70, 300, 0, 1])
    return replace(data, features=features, Y=((features - features.mean(0)) / features.std(0)))


@pytest.fixture(scope="module", params=[NETWORK, ReducedRankRegressor(2, 0.1)], ids=["network", "linear"])
def fitted(request, cells):
    return PairedModel(request.param).fit(cells.subset(np.arange(300)))


def test_the_default_network_follows_the_number_of_cells(cells, monkeypatch):
    few, many = default_network(599), default_network(600)
    assert (few.schedule, few.group_lasso, few.n_networks) == ("small", 0.1, 10)
    assert (many.schedule, many.group_lasso, many.n_networks) == ("stable", 0.05, 10)
    for wrong in (0, 12.5, "many"):
        with pytest.raises(ValueError, match="n_cells must be"):
            default_network(wrong)
    asked = []
    monkeypatch.setattr(paired_model, "default_network", lambda n_cells: asked.append(n_cells) or clone(NETWORK))
    model = PairedModel().fit(cells.subset(np.arange(120)))
    assert asked == [120] and model.estimator is None and model.estimator_.n_selected == 10


def table_of(data):
    return pd.DataFrame(data.counts, index=data.cell_names, columns=data.gene_names)


def test_counts_in_units_out(cells, fitted):
    new = cells.subset(np.arange(300, 400))
    predictions = fitted.predict(table_of(new))
    assert list(predictions.columns) == list(cells.feature_names) and list(predictions.index) == list(new.cell_names)
    spread = np.std(new.features, axis=0)
    errors = np.sqrt(np.mean((predictions.to_numpy() - new.features) ** 2, axis=0))
    assert (errors < 1.1 * spread).all() and np.mean(errors < 0.95 * spread) > 0.5
    z_scores = fitted.preprocessor_.transform_genes(new.counts)
    expected = fitted.preprocessor_.inverse_transform_features(fitted.estimator_.predict(z_scores))
    np.testing.assert_allclose(predictions, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(fitted.predict(new), predictions)


def test_genes_are_found_by_name_in_any_order(cells, fitted):
    new = table_of(cells.subset(np.arange(300, 400)))
    shuffled = new.assign(Xist=7, Malat1=10_000).iloc[:, np.random.default_rng(0).permutation(82)]
    pd.testing.assert_frame_equal(fitted.predict(shuffled), fitted.predict(new))
    pd.testing.assert_frame_equal(fitted.transform(shuffled), fitted.transform(new))
    assert list(fitted.transform(new).columns) == ["z1", "z2"]


def test_missing_genes_are_refused_or_filled(cells, fitted):
    new = table_of(cells.subset(np.arange(300, 400)))
    unread = [gene for gene in cells.gene_names if gene not in set(fitted.selected_genes_)]
    with pytest.warns(UserWarning, match="lack 2 of the 80 genes .* the model reads none of these, and depth is"):
        close = fitted.transform(new.drop(columns=unread[:2])).to_numpy()
    assert np.corrcoef(close[:, 0], fitted.transform(new)["z1"])[0, 1] > 0.99
    without = new.drop(columns=unread[::2])
    with pytest.raises(
        ValueError, match=rf"lack {len(unread[::2])} of the 80 genes of the model, 0 of the 1. selected"
    ):
        fitted.predict(without)
    with pytest.warns(UserWarning, match=r"lack .* of the 80 genes .*; they are set to their training mean"):
        filled = fitted.transform(without, fill_missing=True).to_numpy()
    # Depth is estimated from fewer genes: places on the map hardly move, and not all to one side.
    whole = fitted.transform(new).to_numpy()
    assert np.corrcoef(filled[:, 0], whole[:, 0])[0, 1] > 0.95
    assert (np.abs((filled - whole).mean(axis=0)) < 0.05 * whole.std(axis=0)).all()
    lost = new.drop(columns=fitted.selected_genes_[:1])
    with pytest.raises(
        ValueError, match="1 of the 1[05] selected: .*fill_missing=True sets them to their training mean"
    ):
        fitted.predict(lost)
    X = fitted._align(lost, None, True).X
    assert (X[:, np.flatnonzero(cells.gene_names == fitted.selected_genes_[0])] == 0).all()


def test_cells_far_outside_are_flagged(cells, fitted):
    new = table_of(cells.subset(np.arange(300, 400)))
    assert fitted.outliers(new)["is_outlier"].mean() < 0.1
    # The limit: 99 % of training cells lie nearer to those of the four other folds.
    training, held_out = fitted.training_genes_, []
    for kept, left in KFold(5, shuffle=True, random_state=0).split(training):
        apart = np.linalg.norm(training[left][:, None] - training[kept][None], axis=2)
        held_out += np.sort(apart, axis=1)[:, :10].mean(axis=1).tolist()
    assert fitted.outlier_distance_ == pytest.approx(np.quantile(held_out, 0.99), rel=1e-4)
    strange = new.copy()
    strange[fitted.selected_genes_] = new[fitted.selected_genes_].to_numpy() * 50 + 500
    judged = fitted.outliers(strange)
    assert judged["is_outlier"].all() and (judged["distance"] > fitted.outlier_distance_).all()


def test_cells_that_lack_genes_are_judged_by_the_others(cells, fitted):
    """Distances over fewer genes are smaller, and so is the distance that counts as far."""
    new = table_of(cells.subset(np.arange(300, 400))).drop(columns=fitted.selected_genes_[::2])
    judged = fitted.outliers(new, fill_missing=True)
    X = fitted._align(new, None, True).X[:, fitted.estimator_.selected_][:, 1::2]
    training = fitted.training_genes_[:, 1::2]
    squares = ((X[:, None] - training[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(judged["distance"], np.sort(np.sqrt(squares), axis=1)[:, :10].mean(axis=1), rtol=1e-4)
    assert 0 <= judged["is_outlier"].mean() < 0.1
    far = judged["distance"][judged["is_outlier"]].min() if judged["is_outlier"].any() else np.inf
    assert judged["distance"][~judged["is_outlier"]].max() < min(far, fitted.outlier_distance_)


def test_anndata_gets_what_scanpy_plots(cells, fitted):
    pytest.importorskip("anndata")
    adata = cells.to_anndata()[:, ::-1].copy()
    fitted.annotate(adata, layer="counts")
    np.testing.assert_allclose(adata.obsm["X_sbnn"], fitted.transform(cells), atol=1e-6)
    pd.testing.assert_frame_equal(adata.obsm["sbnn_predictions"], fitted.predict(cells), check_names=False)
    assert set(adata.var_names[adata.var["sbnn_selected"]]) == set(fitted.selected_genes_)
    norms = dict(zip(cells.gene_names, fitted.estimator_.gene_norms_, strict=True))
    assert adata.var["sbnn_norm"].to_dict() == pytest.approx(norms)
    assert adata.obs["sbnn_outlier"].dtype == bool


def test_an_ensemble_says_how_uncertain_places_are(cells, fitted, tmp_path):
    schedule = STAGES.shortened(0.2)
    network = SparseBottleneckRegressor(hidden=(16, 8), n_selected=10, schedule=schedule, n_networks=3)
    model = PairedModel(network).fit(cells.subset(np.arange(300)))
    new = table_of(cells.subset(np.arange(300, 400)))
    spread = model.transform_spread(new)
    aligned = model.preprocessor_.transform_genes(new.to_numpy())
    assert spread.name == "spread" and list(spread.index) == list(new.index) and (spread > 0).all()
    np.testing.assert_allclose(spread, model.estimator_.transform_spread(aligned), rtol=1e-6)
    shuffled = new.assign(Xist=7).iloc[:, np.random.default_rng(0).permutation(81)]
    pd.testing.assert_series_equal(model.transform_spread(shuffled), spread)
    empty = new.copy()
    empty.iloc[2] = 0
    with pytest.warns(UserWarning, match="1 of 100 cells have no count"):
        some = model.transform_spread(empty)
    assert some.isna().sum() == 1 and np.isnan(some.iloc[2])
    with pytest.raises(ValueError, match="fill_missing=True sets them"):
        model.transform_spread(new.iloc[:, 5:])
    with pytest.warns(UserWarning, match="the cells lack 1 of the 80 genes"):
        assert len(model.transform_spread(new.iloc[:, 1:], fill_missing=True)) == 100
    pd.testing.assert_series_equal(load_model(model.save(tmp_path / "map.sbnn")).transform_spread(new), spread)
    pytest.importorskip("anndata")
    adata = cells.subset(np.arange(300, 400)).to_anndata()
    model.annotate(adata, layer="counts")
    pd.testing.assert_series_equal(adata.obs["sbnn_spread"], spread, check_names=False)
    pd.testing.assert_series_equal(model.transform_spread(adata, "counts"), spread)
    fitted.annotate(adata := cells.to_anndata(), layer="counts")
    assert "sbnn_spread" not in adata.obs
    with pytest.raises(ValueError, match=r"this model has one map: fit .*n_networks=10"):
        fitted.transform_spread(new)
    with pytest.raises(NotFittedError):
        PairedModel(network).transform_spread(new)


READ = """
import sys
import numpy as np, pandas as pd
from sbnn import load_model
model = load_model("map.sbnn")
cells = pd.read_csv("cells.csv", index_col=0)
np.savez(
    "out.npz", predictions=model.predict(cells), latents=model.transform(cells), norms=model.estimator_.gene_norms_,
    genes=model.selected_genes_.astype(str), outliers=model.outliers(cells)["distance"]
)
import keras
assert keras.backend.backend() == sys.argv[1]
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_saved_model_predicts_the_same_in_a_new_process(cells, fitted, tmp_path, backend):
    pytest.importorskip(backend)
    table_of(cells).to_csv(tmp_path / "cells.csv")
    assert fitted.save(tmp_path / "map.sbnn") == tmp_path / "map.sbnn"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", READ, backend]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    table = table_of(cells)
    np.testing.assert_allclose(found["predictions"], fitted.predict(table), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["latents"], fitted.transform(table), atol=1e-5)
    np.testing.assert_allclose(found["outliers"], fitted.outliers(table)["distance"], atol=1e-5)
    np.testing.assert_allclose(found["norms"], fitted.estimator_.gene_norms_)
    np.testing.assert_array_equal(found["genes"], fitted.selected_genes_)


def test_everything_comes_back(cells, fitted, tmp_path):
    fitted.save(tmp_path / "map.sbnn")
    loaded = load_model(tmp_path / "map.sbnn")
    assert repr(loaded.estimator_) == repr(fitted.estimator_)
    assert loaded.feature_units_ == fitted.feature_units_ and loaded.outlier_distance_ == fitted.outlier_distance_
    if isinstance(fitted.estimator_, SparseBottleneckRegressor):
        pd.testing.assert_frame_equal(loaded.estimator_.history_, fitted.estimator_.history_, check_dtype=False)
        Z = fitted.transform(cells).to_numpy()
        np.testing.assert_allclose(loaded.estimator_.decode_genes(Z), fitted.estimator_.decode_genes(Z), atol=1e-4)
    names = zipfile.ZipFile(tmp_path / "map.sbnn").namelist()
    assert all(name == "config.json" or name.endswith(".npy") for name in names)
    assert not any(file.name.startswith(".") for file in tmp_path.iterdir())


def test_cells_without_names_or_genes_are_refused(cells, fitted):
    with pytest.raises(ValueError, match="cells must be a DataFrame, an AnnData or PairedData, .* got ndarray"):
        fitted.predict(cells.counts)
    with pytest.raises(ValueError, match="the cells have none of the 80 genes of the model"):
        fitted.predict(table_of(cells).T)
    with pytest.raises(ValueError, match="the model takes counts, but PairedData 'simulated' has none"):
        fitted.predict(replace(cells, counts=None))
    mudata = pytest.importorskip("mudata")
    with pytest.raises(ValueError, match="cells is a MuData: give the modality that holds the genes, one of 'rna'"):
        fitted.predict(mudata.MuData({"rna": cells.to_anndata(), "ephys": cells.to_anndata()}))


def test_cells_without_counts_and_doubled_genes_that_are_not_read_do_no_harm(cells, fitted):
    new = table_of(cells.subset(np.arange(300, 400)))
    new.iloc[5] = 0
    with pytest.warns(UserWarning, match="1 of 100 cells have no count of the model's genes and are not predicted"):
        predictions, judged = fitted.predict(new), fitted.outliers(new)
    assert predictions.iloc[5].isna().all() and judged["is_outlier"].iloc[5]
    rest = np.delete(np.arange(100), 5)
    pd.testing.assert_frame_equal(predictions.iloc[rest], fitted.predict(new.iloc[rest]))
    doubled = pd.concat([new.iloc[rest], pd.DataFrame(1, index=new.index[rest], columns=["Xist", "Xist"])], axis=1)
    pd.testing.assert_frame_equal(fitted.predict(doubled), fitted.predict(new.iloc[rest]))
    with pytest.raises(ValueError, match="duplicate genes in cells: 'gene"):
        fitted.predict(pd.concat([new, new.iloc[:, :1]], axis=1))
    with pytest.raises(ValueError, match="none of the cells has a count of the model's genes"):
        fitted.predict(new * 0)
    with pytest.raises(ValueError, match="cells must not be negative"):
        fitted.predict(-new)


def test_what_is_not_fitted_or_no_data_says_so(cells, tmp_path):
    for ask in (lambda model: model.save(tmp_path / "m.sbnn"), lambda model: model.selected_genes_):
        with pytest.raises(NotFittedError, match="call fit.data. first"):
            ask(PairedModel())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="data must be PairedData, .* got DataFrame"):
        PairedModel().fit(table_of(cells))


def test_the_spread_of_another_model_does_not_stay(cells, fitted):
    pytest.importorskip("anndata")
    adata = cells.to_anndata()
    adata.obs["sbnn_spread"] = 1.0
    fitted.annotate(adata, layer="counts")
    assert "sbnn_spread" not in adata.obs


def test_a_view_of_a_file_cannot_be_annotated(cells, fitted, tmp_path):
    anndata = pytest.importorskip("anndata")
    cells.to_anndata().write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.raises(ValueError, match="adata is a view of a file, which cannot be changed: give adata.to_memory"):
        fitted.annotate(backed[:50], layer="counts")
    fitted.annotate(backed, layer="counts")
    assert backed.obsm["X_sbnn"].shape == (400, 2)
    backed.file.close()


def test_fractions_in_place_of_counts_are_noticed(cells, fitted):
    with pytest.warns(UserWarning, match="cells holds fractions such as .* wrong for normalised values: give raw"):
        fitted.predict(table_of(cells) / 7)


def test_one_latent_dimension_is_no_map(cells):
    model = PairedModel(ReducedRankRegressor(1, 0.1)).fit(cells)
    with pytest.raises(ValueError, match="a map needs at least two latent dimensions, the model has 1"):
        model.plot(cells)


WITHOUT_KERAS = """
import sys
from sbnn import PairedModel, ReducedRankRegressor, load_model, simulate_patchseq
data, _ = simulate_patchseq(n_cells=100, n_genes=30, n_features=4, n_informative=5, random_state=0)
PairedModel(ReducedRankRegressor(2, 0.1)).fit(data).save("linear.sbnn")
load_model("linear.sbnn").predict(data)
assert "keras" not in sys.modules
"""


def test_a_linear_model_needs_no_backend(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT_KERAS], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_counts_expression_goes_in(cells):
    data = replace(cells, counts=None, features=None)
    model = PairedModel(ReducedRankRegressor(2, 0.1)).fit(data)
    table = pd.DataFrame(data.X, index=data.cell_names, columns=data.gene_names)
    reference = ReducedRankRegressor(2, 0.1).fit(data.X, data.Y)
    np.testing.assert_allclose(model.predict(table), reference.predict(data.X), atol=1e-3)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_a_fit_that_fails_leaves_the_earlier_one_whole(cells, failure, monkeypatch):
    model = PairedModel(ReducedRankRegressor(2, 0.1)).fit(cells.subset(np.arange(300)))
    before = model.predict(cells)

    def fail(*arguments):
        raise failure

    monkeypatch.setattr(ReducedRankRegressor, "fit", fail)
    with pytest.raises(failure):
        model.fit(cells.subset(np.arange(100, 400)))
    pd.testing.assert_frame_equal(model.predict(cells), before)


def test_a_model_without_genes_leaves_the_earlier_one_whole(cells):
    model = PairedModel(ReducedRankRegressor(2, 0.1)).fit(cells.subset(np.arange(300)))
    before = model.predict(cells)
    model.estimator = ReducedRankRegressor(2, 100.0)
    with pytest.raises(ValueError, match="selects no gene"):
        model.fit(cells.subset(np.arange(100, 400)))
    pd.testing.assert_frame_equal(model.predict(cells), before)
