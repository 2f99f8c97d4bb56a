"""A few measured cells of another cohort make predictions fit it; without a shift, nothing changes much."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import require_real

from sbnn import (
    PairedModel,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    load_dataset,
    load_model,
    simulate_patchseq,
)
from sbnn.data.count_tables import rows_of
from sbnn.data.published.scala import read_count_table
from sbnn.models.schedules import Schedule, Stage
from sbnn.own_cells.recalibration import LEAST_FOR_SCALE, fit_correction

STAGES = Schedule("test", (Stage("finetuned", 20, 3e-3), Stage("pruned", 10, 3e-3)))
NETWORK = SparseBottleneckRegressor(hidden=(16,), n_selected=10, schedule=STAGES, group_lasso=0.03, n_networks=2)
SHIFT, SCALE = np.array([0.0, 50.0, 0.0, 0.0, -1.0, 2.0]), np.array([1.0, 1.5, 1.0, 1.0, 1.0, 0.5])


@pytest.fixture(scope="module")
def cells():
    data, _ = simulate_patchseq(n_cells=500, n_genes=80, n_features=6, n_informative=10, n_types=4, random_state=3)
    features = data.features * np.array([1, 20, 100, 1000, 0.5, 1]) + np.array([0, 5, -70, 300, 0, 1])
    units = ("mV", "ms", None, None, "pA", None)
    return replace(data, features=features, Y=(features - features.mean(0)) / features.std(0), feature_units=units)


@pytest.fixture(scope="module", params=[NETWORK, ReducedRankRegressor(2, 0.05)], ids=["network", "linear"])
def model(request, cells):
    return PairedModel(request.param).fit(cells.subset(np.arange(300)))


def moved(data):
    """Cells of a cohort whose features are shifted and scaled."""
    return replace(data, features=data.features * SCALE + SHIFT)


def errors(model, data):
    return np.nanmean(((model.predict(data).to_numpy() - data.features) / data.features.std(axis=0)) ** 2, axis=0)


def test_predictions_of_a_shifted_cohort_improve_and_the_model_is_unchanged(cells, model):
    patched, others = moved(cells.subset(np.arange(300, 340))), moved(cells.subset(np.arange(340, 500)))
    before = model.predict(others)
    adapted = model.recalibrate(patched)
    shifted = SHIFT != 0
    assert (errors(adapted, others)[shifted] < errors(model, others)[shifted] - 0.1).all()
    assert (errors(adapted, others)[~shifted] < 1.1 * errors(model, others)[~shifted]).all()
    pd.testing.assert_frame_equal(model.predict(others), before)
    assert model.recalibration_ is None and adapted is not model
    pd.testing.assert_frame_equal(adapted.transform(others), model.transform(others))  # the map stays
    table = adapted.recalibration_
    assert table.index.tolist() == cells.feature_names.tolist() and (table["n_values"] == 40).all()
    expected = model.predict(others) * table["scale"] + table["offset"]
    pd.testing.assert_frame_equal(adapted.predict(others), expected, check_names=False, rtol=1e-6)


def test_without_a_shift_hardly_anything_changes(cells, model):
    adapted = model.recalibrate(cells.subset(np.arange(300, 340)))
    others = cells.subset(np.arange(340, 500))
    assert (errors(adapted, others) < 1.08 * errors(model, others)).all()


def test_the_correction_is_that_of_its_formula():
    """Without noise nothing is shrunken, and the line is found; with few cells, the mean difference."""
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 3))
    found = fit_correction(x, x * [1.5, 1, 0.5] + [2, 0, -1])
    np.testing.assert_allclose(found.scale, [1.5, 1, 0.5], atol=1e-6)
    np.testing.assert_allclose(found.offset, [2, 0, -1], atol=1e-6)
    few = fit_correction(x[:10], x[:10] + np.array([2, 0.5, -1]))
    np.testing.assert_allclose(few.scale, 1)
    np.testing.assert_allclose(few.offset, [2, 0.5, -1], atol=1e-6)
    assert LEAST_FOR_SCALE == 20
    y = x + np.array([2, 0.5, -1]) + random.standard_normal((40, 3))
    noisy, means = fit_correction(x[:10], y[:10]), (y - x)[:10].mean(axis=0)
    assert (np.abs(noisy.offset) < np.abs(means)).all() and (noisy.offset * means > 0).all()
    # The empirical Bayes estimate, by hand.
    squares = ((y - x)[:10] - means) ** 2
    variance = (squares.sum(axis=0) + 4 * squares.sum() / 27) / 13 / 10
    between = np.sum((means**2 - variance) / variance) / np.sum(1 / variance)
    np.testing.assert_allclose(noisy.offset, means * between / (between + variance))
    limited = fit_correction(x, x * [100, 1, -3])
    assert limited.scale.max() == 4 and limited.scale.min() == 0.25


def test_missing_values_and_features_with_few_cells():
    random = np.random.default_rng(1)
    x = random.standard_normal((30, 3))
    y = x + np.array([2.0, -2.0, 3.0])
    y[2:, 2] = np.nan  # two cells are too few
    y[::2, 1] = np.nan
    found = fit_correction(x, y)
    assert found.offset[2] == 0 and found.scale[2] == 1
    np.testing.assert_allclose(found.offset[:2], [2, -2], atol=1e-6)
    nothing = fit_correction(x[:2], y[:2])
    assert (nothing.offset == 0).all() and (nothing.scale == 1).all()


def test_on_average_noise_is_not_taken_for_a_shift():
    """Of a cohort without shift, offsets are smaller than plain mean differences."""
    random, offsets, means = np.random.default_rng(2), [], []
    for _ in range(100):
        x = random.standard_normal((10, 8))
        y = x + random.standard_normal((10, 8))
        offsets.append(fit_correction(x, y).offset)
        means.append((y - x).mean(axis=0))
    assert np.mean(np.square(offsets)) < 0.25 * np.mean(np.square(means))


def test_some_features_in_another_order_and_again(cells, model):
    patched = moved(cells.subset(np.arange(300, 340)))
    order = [5, 1]
    some = replace(
        patched, Y=patched.Y[:, order], features=patched.features[:, order], feature_names=patched.feature_names[order],
        feature_units=tuple(patched.feature_units[place] for place in order),
    )  # fmt: skip
    adapted = model.recalibrate(some)
    assert adapted.recalibration_["n_values"].tolist() == [0, 40, 0, 0, 0, 40]
    assert (adapted.recalibration_["scale"].to_numpy()[[0, 2, 3, 4]] == 1).all()
    twice = adapted.recalibrate(moved(cells.subset(np.arange(340, 380))))
    others = cells.subset(np.arange(380, 500))
    table = twice.recalibration_
    expected = model.predict(others) * table["scale"] + table["offset"]
    pd.testing.assert_frame_equal(twice.predict(others), expected, check_names=False, rtol=1e-6)
    assert table["n_values"].tolist() == [40, 80, 40, 40, 40, 80]


def test_the_file_keeps_it(cells, model, tmp_path):
    adapted = model.recalibrate(moved(cells.subset(np.arange(300, 340))))
    loaded = load_model(adapted.save(tmp_path / "map.sbnn"))
    pd.testing.assert_frame_equal(loaded.recalibration_, adapted.recalibration_)
    others = cells.subset(np.arange(340, 500))
    pd.testing.assert_frame_equal(loaded.predict(others), adapted.predict(others))
    for change in ({"scale": -1.0}, {"offset": np.inf}, {"n_values": 0.5}):
        broken = model.recalibrate(moved(cells.subset(np.arange(300, 340))))
        broken.recalibration_ = broken.recalibration_.assign(**change)
        with pytest.raises(ValueError, match=f"recalibration {next(iter(change))}"):
            broken.save(tmp_path / "broken.sbnn")
    assert not (tmp_path / "broken.sbnn").exists()


def test_intervals_are_those_of_the_original_cohort_and_are_dropped(cells):
    training = cells.subset(np.arange(300))
    model = PairedModel(ReducedRankRegressor(2, 0.05)).fit(training).calibrate(training, 3, progress=False)
    adapted = model.recalibrate(moved(cells.subset(np.arange(300, 340))))
    with pytest.raises(ValueError, match="recalibrated models have none"):
        adapted.predict_interval(training)
    with pytest.raises(ValueError, match="calibrate the original model"):
        adapted.calibrate(training)
    assert model.predict_interval(training).low.notna().all(axis=None)
    assert adapted.fit(training).recalibration_ is None


def test_logarithms_are_recalibrated_as_logarithms(cells):
    """An offset of the logarithm is a factor of the feature."""
    positive = np.exp(cells.Y.astype(float))
    plain = replace(cells, features=positive, feature_units=("MOhm", *[None] * 5))
    names = np.array(["log10(feature 1)", *cells.feature_names[1:]])
    logs = np.column_stack([np.log10(positive[:, 0]), positive[:, 1:]])
    made = replace(plain, features=logs, feature_names=names, feature_units=("log10 MOhm", *[None] * 5),
                   feature_transforms=("log10", *[None] * 5))  # fmt: skip
    model = PairedModel(ReducedRankRegressor(2, 0.05)).fit(made.subset(np.arange(300)))
    tenfold = replace(plain.subset(np.arange(300, 340)), features=positive[300:340] * [10, 1, 1, 1, 1, 1])
    adapted, others = model.recalibrate(tenfold), plain.subset(np.arange(340, 500))
    ratio = (adapted.predict(others) / model.predict(others))["feature 1"]
    assert 7 < ratio.median() < 14
    offset = adapted.recalibration_.loc["feature 1"]
    np.testing.assert_allclose(
        np.log10(adapted.predict(others)["feature 1"]),
        np.log10(model.predict(others)["feature 1"]) * offset["scale"] + offset["offset"],
        rtol=1e-6,
    )
    tenfold.features[:2, 0] = [0, -1]
    with pytest.warns(
        UserWarning, match="not above 0 have no logarithm, and are left out as not measured: 2 of feature 1"
    ):
        assert model.recalibrate(tenfold).recalibration_["n_values"].tolist() == [38, *[40] * 5]


def test_what_does_not_fit_is_refused(cells, model):
    patched = cells.subset(np.arange(300, 340))
    renamed = replace(patched, feature_names=[f"other {number}" for number in range(6)])
    other_units = replace(patched, feature_units=("V", "ms", None, None, "pA", None))
    for data, message in (
        (renamed, "data has none of the model's features"),
        (other_units, "feature 'feature 1' is in 'mV' in the model but in 'V' in data"),
        (replace(patched, features=None, feature_units=None), "data needs features as measured"),
        (patched.subset([0, 1]), "data has at most 2 values of a feature"),
        (replace(patched, counts=None), "the model takes counts"),
    ):
        with pytest.raises(ValueError, match=message):
            model.recalibrate(data)
    counts = pd.DataFrame(patched.counts, patched.cell_names, patched.gene_names)
    with pytest.raises(ValueError, match="must have the same cells"):
        model.recalibrate(patched, counts[:5])
    with pytest.raises(ValueError, match="cells must be those of data, in their order"):
        model.recalibrate(patched, counts[::-1])
    with pytest.raises(ValueError, match="data must be PairedData"):
        model.recalibrate(counts)


def test_a_model_of_y_is_recalibrated_on_y(cells):
    bare = replace(cells, counts=None, features=None, feature_units=None)
    model = PairedModel(ReducedRankRegressor(2, 0.05)).fit(bare.subset(np.arange(300)))
    new = bare.subset(np.arange(300, 400))
    adapted = model.recalibrate(replace(new, Y=new.Y + np.array([2, 0, 0, 0, 0, 0], dtype=np.float32)))
    assert adapted.recalibration_["offset"].iloc[0] == pytest.approx(2, abs=0.4)


@pytest.mark.real_data
def test_twenty_cells_of_the_warm_cohort_help():
    require_real("scala_2020")
    require_real("scala_2020_phys_temp")
    data, cohort = load_dataset("scala_2020"), load_dataset("scala_2020_phys_temp")
    table = read_count_table("scala_2020_phys_temp")
    counts = pd.DataFrame(np.asarray(rows_of(table, cohort.cell_names)), cohort.cell_names, table.gene_names)
    chosen = np.random.default_rng(0).choice(cohort.n_cells, 20, replace=False)
    others = np.setdiff1d(np.arange(cohort.n_cells), chosen)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the(se [0-9]+)? cells")
        model = PairedModel(ReducedRankRegressor(2, 0.4, relaxed=True)).fit(data)
        adapted = model.recalibrate(cohort.subset(chosen), counts.iloc[chosen], fill_missing=True)
        predicted = [one.predict(counts.iloc[others], fill_missing=True) for one in (model, adapted)]
    before, after = (
        np.mean(((one.to_numpy() - cohort.features[others]) / data.features.std(axis=0)) ** 2) for one in predicted
    )
    assert after < 0.75 * before
