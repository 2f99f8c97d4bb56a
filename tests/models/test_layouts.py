"""Layouts of cells by their features, and networks that learn them first."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold

from sbnn import PairedModel, SparseBottleneckRegressor, cross_validate, load_model
from sbnn.models.layouts import feature_layout, fold_layouts, principal_components
from sbnn.models.map_agreement import procrustes_r2
from sbnn.models.network import encoder_of, network_layers
from sbnn.models.schedules import SCHEDULES, Schedule, Stage
from sbnn.models.stack_run import StackRun
from sbnn.models.tasks import TrainingTask
from sbnn.validation.folds import make_folds, view_fold

PRETRAINED = Stage("pretrained", 60, 1e-2, batch_size=64, layout="pca")
SCHEDULE = Schedule("trial", (PRETRAINED, Stage("finetuned", 2, 1e-3, batch_size=64)))


def network(**settings):
    return SparseBottleneckRegressor(**{"hidden": (16, 8), "schedule": SCHEDULE, "group_lasso": 0.001, **settings})


@pytest.fixture(scope="module")
def features():
    random = np.random.default_rng(0)
    Y = random.standard_normal((200, 2)) @ random.standard_normal((2, 8)) + 0.1 * random.standard_normal((200, 8))
    return (Y - Y.mean(axis=0)) / Y.std(axis=0)


def test_without_missing_values_the_layout_is_that_of_pca(features):
    assert procrustes_r2(feature_layout(features), PCA(2).fit_transform(features)) == pytest.approx(1, abs=1e-4)
    layout = feature_layout(features)
    assert layout.dtype == np.float32 and layout.std(axis=0).max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(layout, feature_layout(features.copy()))


def test_missing_values_and_outliers_hardly_move_the_other_cells(features):
    damaged = features.copy()
    damaged[np.random.default_rng(1).random(damaged.shape) < 0.2] = np.nan
    damaged[0] = 1e6
    assert procrustes_r2(feature_layout(damaged)[1:], feature_layout(features)[1:]) > 0.9
    damaged[1] = np.nan  # nothing is known about this cell
    np.testing.assert_allclose(principal_components(damaged, 2)[1], 0, atol=1e-12)


def test_tsne_keeps_neighbours_and_is_the_same_again(features):
    layout = feature_layout(features, "tsne")
    np.testing.assert_array_equal(layout, feature_layout(features, "tsne"))
    order = np.argsort(((layout[:, None] - layout) ** 2).sum(axis=-1), axis=1)[:, 1:11]
    near = np.linalg.norm(features[order] - features[:, None], axis=-1).mean()
    assert near < 0.5 * np.linalg.norm(features[:100] - features[100:], axis=-1).mean()


def test_test_cells_have_no_part_in_the_layout_of_a_fold(small):
    data = small[0]
    views = [view_fold(data, split) for split in make_folds(data, KFold(3))]
    changed = [
        view._replace(Y=np.where(np.isin(np.arange(len(view.Y)), view.test)[:, None], 9.0, view.Y)) for view in views
    ]
    for mine, other in zip(fold_layouts(views, "pca", 2), fold_layouts(changed, "pca", 2), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_stage_places_the_cells_and_trains_nothing_behind_the_bottleneck(small):
    data = small[0]
    layout = feature_layout(data.Y)
    task = TrainingTask(np.arange(data.n_cells), group_lasso=0.001, layout=layout)
    layers = network_layers(data.n_features, 2, (16, 8))
    run = StackRun(data.X.astype(np.float32), data.Y.astype(np.float32), [task], layers, 1e-10)
    before = run.weights_of()
    assert run.step(PRETRAINED, 0) is None
    n_encoder = 2 * len(encoder_of(layers))
    for mine, start in zip(run.weights_of()[n_encoder:], before[n_encoder:], strict=True):
        np.testing.assert_array_equal(mine, start)
    model = network().fit(data.X, data.Y)
    places = model.transform(data.X)
    assert procrustes_r2(places, layout) > 0.5
    assert procrustes_r2(places, np.random.default_rng(0).permutation(layout)) < 0.2


def test_seeds_share_the_map(small):
    data = small[0]
    maps = {}
    for schedule in (SCHEDULE, [Stage("pretrained", 60, 1e-2, batch_size=64, cluster_starts=5), *SCHEDULE.stages[1:]]):
        maps[str(schedule)] = [network(schedule=schedule, random_state=seed).fit(data.X, data.Y) for seed in (0, 1)]
    with_layout, with_clusters = (procrustes_r2(*(one.transform(data.X) for one in pair)) for pair in maps.values())
    assert with_layout > 0.9 and with_layout > with_clusters


def test_a_layout_of_ones_own(small):
    data = small[0]
    own = np.random.default_rng(0).standard_normal((data.n_cells, 2))
    model = network().fit(data.X, data.Y, layout=own)
    assert not np.allclose(model.transform(data.X), network().fit(data.X, data.Y).transform(data.X), atol=0.1)
    with pytest.raises(ValueError, match=r"layout must have shape \(150, 2\), got \(150, 3\)"):
        network().fit(data.X, data.Y, layout=np.zeros((150, 3)))
    with pytest.raises(ValueError, match='give its stage "pretrained" a layout'):
        network(schedule=[Stage("finetuned", 1, 1e-3)]).fit(data.X, data.Y, layout=own)


def test_cross_validation_files_and_descriptions_know_the_layout(small, tmp_path):
    data = small[0]
    found = cross_validate(data, {"trial": network()}, folds=KFold(2), progress=False)
    alone = network().fit(data.X[found.folds[0].train], data.Y[found.folds[0].train])
    assert procrustes_r2(found.estimators[0].transform(data.X), alone.transform(data.X)) > 0.9
    assert found.models[0]["stages"][0]["layout"] == "pca" and "layout" not in found.models[0]["stages"][1]
    model = PairedModel(network()).fit(data)
    loaded = load_model(model.save(tmp_path / "model.sbnn"))
    assert loaded.estimator.schedule == SCHEDULE


def test_what_cannot_be_laid_out_is_refused(features):
    with pytest.raises(ValueError, match="only the stage \"pretrained\" has a layout, got 'pca' in 'finetuned'"):
        Stage("finetuned", 1, 1e-3, layout="pca")
    with pytest.raises(ValueError, match="unknown layout 'umap': expected one of 'pca', 'tsne'"):
        Stage("pretrained", 1, 1e-3, layout="umap")
    with pytest.raises(
        ValueError, match="a layout of 9 coordinates needs as many cells and features, got 200 cells and 8"
    ):
        feature_layout(features, n_dims=9)
    with pytest.raises(ValueError, match="at most as many coordinates as there are features, 4: bottleneck_dim is 5"):
        network(bottleneck_dim=5).check_settings(30, 4)


def test_published_schedules_have_no_layout_in_their_description():
    assert all("layout" not in stage.settings() for name in ("fast", "paper") for stage in SCHEDULES[name])
