"""R2 against the number of training cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold

import sbnn
from sbnn import (
    ClassMean,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    cross_validate,
    learning_curve,
    simulate_patchseq,
)
from sbnn.data.cell_labels import UNKNOWN
from sbnn.figures.learning_curve import plot_learning_curve
from sbnn.models.schedules import Stage
from sbnn.validation.class_ridge import ClassRidge
from sbnn.validation.folds import make_folds
from sbnn.validation.learning_curve import LearningCurve, best_models, draw_animals, summarise_scores

FOLDS = GroupKFold(3)


@pytest.fixture(scope="module")
def cells():
    return simulate_patchseq(180, 40, 4, 8, n_types=4, n_donors=30, random_state=3)[0]


class Recorder(RegressorMixin, BaseEstimator):
    """Predicts the mean, and notes what it is fitted on."""

    seen: list = []  # noqa: RUF012

    def __init__(self, name="", n_cells=0):
        self.name = name
        self.n_cells = n_cells

    def fit(self, X, y):
        Recorder.seen.append((self.name, self.n_cells, X.copy(), y.copy()))
        self.mean_ = y.mean(axis=0)
        return self

    def predict(self, X):
        return np.tile(self.mean_, (len(X), 1))


@pytest.fixture(scope="module")
def found(cells):
    models = {"ridge": Ridge(50.0), "family mean": ClassMean(), "sized": lambda n: Ridge(1e4 / n)}
    return learning_curve(cells, models, (30, None, 60), 2, FOLDS, progress=False)


def test_animals_are_drawn_whole_but_the_last():
    animals = np.array(list("aabbbcddddde"))
    for seed in range(30):
        for n_cells in range(1, 13):
            drawn = draw_animals(animals, n_cells, np.random.default_rng(seed))
            assert len(drawn) == len(set(drawn)) == n_cells
            names = list(dict.fromkeys(animals[drawn]))
            own = [np.sum(animals[drawn] == name) for name in names]
            assert own[:-1] == [np.sum(animals == name) for name in names[:-1]]
            smaller = draw_animals(animals, max(1, n_cells - 3), np.random.default_rng(seed))
            np.testing.assert_array_equal(smaller, drawn[: len(smaller)])
    with pytest.raises(ValueError, match="at most the 12 cells there are, got 13"):
        draw_animals(animals, 13, np.random.default_rng(0))


def test_every_animal_is_the_first_as_often():
    animals = np.repeat(np.arange(5), [1, 2, 3, 4, 10])
    first = [animals[draw_animals(animals, 1, np.random.default_rng(seed))[0]] for seed in range(1000)]
    assert (abs(np.bincount(first) - 200) < 5 * np.sqrt(200)).all()


def test_all_models_see_the_same_cells_and_test_cells_are_those_of_the_fold(cells):
    Recorder.seen = []
    models = {"a": Recorder("a"), "b": lambda n: Recorder("b", n)}
    numbered = replace(cells, features=np.arange(180.0)[:, None] + np.zeros(4))  # that tell cells apart
    found = learning_curve(numbered, models, (30, 60, None), 2, FOLDS, progress=False, n_jobs=1)
    splits = make_folds(numbered, FOLDS)
    rows = found.scores.set_index(["model", "n_cells", "draw", "fold"])
    assert list(rows.index.unique("n_cells")) == [30, 60, 120] and len(rows) == 2 * 3 * (2 + 2 + 1)
    for mine, theirs in zip(
        [one for one in Recorder.seen if one[0] == "a"], [one for one in Recorder.seen if one[0] == "b"], strict=True
    ):
        np.testing.assert_array_equal(mine[2], theirs[2])
        np.testing.assert_array_equal(mine[3], theirs[3])
        assert theirs[1] == (len(mine[2]) if len(mine[2]) in (30, 60) else 120)
        assert abs(mine[2].mean(axis=0)).max() < 1e-5 and abs(mine[3].std(axis=0) - 1).max() < 1e-5  # own z-scores
    seen = iter([one for one in Recorder.seen if one[0] == "a"])
    for n_cells, n_draws in ((30, 2), (60, 2), (None, 1)):
        for draw in range(n_draws):
            for fold, split in enumerate(splits):
                values = next(seen)[3][:, 0]
                if n_cells is None:
                    train = split.train
                else:
                    random = np.random.default_rng([0, draw, fold])
                    train = split.train[draw_animals(cells.donors[split.train], n_cells, random)]
                expected = np.sort((train - train.mean()) / train.std())
                np.testing.assert_allclose(np.sort(values), expected, atol=1e-5)
                if n_cells is not None:
                    centre, sd = train.mean(), train.std()
                    residual = ((split.test - centre) / sd) ** 2
                    assert rows.loc[("a", n_cells, draw, fold), "r2_test"] == pytest.approx(0, abs=1e-6)
                    assert residual.sum() > 0 and not set(train) & set(split.test)


def test_scores_are_those_of_cross_validation_on_the_same_cells(found, cells):
    splits = make_folds(cells, FOLDS)
    for draw in range(2):
        drawn = []
        for fold, split in enumerate(splits):
            random = np.random.default_rng([0, draw, fold])
            drawn.append((split.train[draw_animals(cells.donors[split.train], 60, random)], split.test))
        models = {"ridge": Ridge(50.0), "family mean": ClassMean(), "sized": Ridge(1e4 / 60)}
        result = cross_validate(cells, models, drawn, within_fold=True, progress=False)
        part = found.scores[found.scores["n_cells"].eq(60) & found.scores["draw"].eq(draw)]
        np.testing.assert_allclose(part["r2_test"], result.scores["r2_test"], atol=1e-6)
        np.testing.assert_allclose(part["r2_train"], result.scores["r2_train"], atol=1e-6)
        own = found.feature_scores
        own = own[own["n_cells"].eq(60) & own["draw"].eq(draw)]
        np.testing.assert_allclose(own["r2_test"], result.feature_scores["r2_test"], atol=1e-6)
        assert list(own["feature"]) == list(result.feature_scores["feature"])
    whole = cross_validate(cells, {"ridge": Ridge(50.0)}, FOLDS, within_fold=True, progress=False)
    part = found.scores[found.scores["n_cells"].eq(120) & found.scores["model"].eq("ridge")]
    np.testing.assert_array_equal(part["r2_test"], whole.scores["r2_test"])
    assert part["draw"].eq(0).all() and list(part["n_train"]) == [len(fold.train) for fold in whole.folds]


def test_draws_do_not_depend_on_their_number_or_on_sizes(found, cells):
    more = learning_curve(cells, {"ridge": Ridge(50.0)}, (60,), 3, FOLDS, progress=False).scores
    part = found.scores[found.scores["model"].eq("ridge") & found.scores["n_cells"].eq(60)].reset_index(drop=True)
    pd.testing.assert_frame_equal(more[more["draw"] < 2], part)
    assert more.groupby("draw")["r2_test"].mean().nunique() == 3
    other = learning_curve(cells, {"ridge": Ridge(50.0)}, (60,), 1, FOLDS, random_state=1, progress=False).scores
    assert not np.allclose(other["r2_test"], part.loc[part["draw"].eq(0), "r2_test"])


def test_the_summary_and_the_recommendation_are_those_of_a_loop(found):
    summary = found.summary.set_index(["model", "n_cells"])
    for (model, n_cells), row in summary.iterrows():
        part = found.scores[found.scores["model"].eq(model) & found.scores["n_cells"].eq(n_cells)]
        by_fold = [part.loc[part["fold"] == fold, "r2_test"].mean() for fold in range(3)]
        assert row["r2_mean"] == pytest.approx(np.mean(by_fold))
        assert row["r2_sd"] == pytest.approx(np.std(by_fold, ddof=1))
        assert row["r2_se"] == pytest.approx(np.std(by_fold, ddof=1) / np.sqrt(3))
        by_draw = [group["r2_test"].mean() for _, group in part.groupby("draw")]
        assert (
            np.isnan(row["sd_of_draws"])
            if len(by_draw) == 1
            else row["sd_of_draws"] == pytest.approx(np.std(by_draw, ddof=1))
        )
    assert list(found.summary["model"].unique()) == ["ridge", "family mean", "sized"]
    assert found.baselines == ("family mean",)
    for row in found.recommended.itertuples():
        own = summary.xs(row.n_cells, level="n_cells").drop("family mean")
        assert row.model == own["r2_mean"].idxmax() and row.within_one_se[0] == row.model
        near = own.index[own["r2_mean"] >= own["r2_mean"].max() - own.loc[row.model, "r2_se"]]
        assert set(row.within_one_se) == set(near)
    assert list(found.recommended["n_cells"]) == [30, 60, 120]
    assert repr(found).startswith("LearningCurve: 3 models, 3 folds, 2 draws; best R2\n  30 cells: ")


def scores(**models):
    """Scores of two folds and one draw of 50 cells."""
    rows = [(name, 50, 0, fold, value) for name, values in models.items() for fold, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["model", "n_cells", "draw", "fold", "r2_test"])


def test_models_within_one_se_are_named_and_baselines_are_not():
    table = scores(best=(0.4, 0.6), near=(0.35, 0.46), far=(0.3, 0.4), mean=(0.8, 0.9), lost=(0.9, np.nan))
    (row,) = best_models(table, ["mean"]).itertuples()
    assert (row.model, row.within_one_se) == ("best", ("best", "near"))
    assert row.r2_mean == pytest.approx(0.5) and row.r2_se == pytest.approx(0.1)
    (row,) = best_models(scores(one=(0.4,), two=(0.3,))).itertuples()
    assert row.within_one_se == ("one",) and np.isnan(row.r2_se)
    assert not len(best_models(scores(lost=(0.4, np.nan))))


def test_a_table_from_a_file_is_enough(found, tmp_path):
    found.scores.to_csv(tmp_path / "curve.csv", index=False)
    table = pd.read_csv(tmp_path / "curve.csv")
    pd.testing.assert_frame_equal(best_models(table, found.baselines), found.recommended)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (scores(a=(1, 2)).drop(columns="fold"), r"without the column\(s\) 'fold'"),
        (scores(a=(1, 2)).iloc[:0], "empty table"),
        (pd.concat([scores(a=(1, 2))] * 2), "fit, each once"),
        (scores(a=(1, 2), b=(1,)), "scores of 50 cells must have every model in every draw and fold, got 3 rows"),
    ],
)
def test_tables_that_would_compare_other_cells_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        summarise_scores(table)


def test_of_baselines_alone_none_is_recommended(cells):
    assert not len(best_models(scores(mean=(0.1, 0.2)), ["mean"]))
    found = learning_curve(cells, {"type mean": ClassMean("cell_types")}, iter([30, None]), 1, FOLDS, progress=False)
    assert list(found.summary["n_cells"]) == [30, 120] and not len(found.recommended)
    assert repr(found) == ("LearningCurve: 1 models, 3 folds, 1 draws; none to recommend (only baselines, or no R2)")
    assert plot_learning_curve(found).axes


def test_a_model_that_reads_classes_beside_genes_is_a_baseline(cells):
    models = {"type + genes": ClassRidge(), "ridge": Ridge(50.0)}
    found = learning_curve(cells, models, (60,), 1, FOLDS, progress=False)
    assert found.baselines == ("type + genes",) and list(found.recommended["model"]) == ["ridge"]


class Failing(Recorder):
    """Predicts nothing finite, or raises at the cells whose first feature begins with this value."""

    first = 0.0

    def fit(self, X, y):
        if self.name == "raises" and len(X) == self.n_cells and np.isclose(y[0, 0], self.first):
            raise ValueError("not these")
        return super().fit(X, y)

    def predict(self, X):
        return super().predict(X) * (np.nan if self.name == "not finite" else 1)


def test_warnings_and_errors_say_in_which_draw_and_fold(cells):
    settings = {"sizes": (30,), "n_draws": 4, "folds": FOLDS, "progress": False, "n_jobs": 1}
    with pytest.warns(UserWarning, match="not finite") as warned:
        learning_curve(cells, {"o": Failing("not finite")}, **settings)
    said = [str(one.message).partition(" predicts")[0] for one in warned]
    assert said == [f"'o' in draw {draw}, fold {fold} (30 cells)" for draw in range(4) for fold in range(3)]
    Recorder.seen = []
    learning_curve(cells, {"o": Recorder()}, **settings)
    failing = Failing("raises", 30)
    Failing.first = Recorder.seen[10][3][0, 0]
    with pytest.raises(ValueError, match="not these") as caught:
        learning_curve(cells, {"o": failing}, **settings)
    assert caught.value.__notes__ == ["while fitting 'o' in draw 3, fold 1 (30 cells)"]
    Y = cells.Y.copy()
    Y[:, 0] = np.nan
    Y[cells.donors == cells.donors[0], 0] = 1.0
    with pytest.raises(ValueError, match=r"^draw \d, fold \d \(30 cells\) has no training cell with a value of"):
        learning_curve(replace(cells, Y=Y, features=None, counts=None), {"ridge": Ridge()}, **settings)


def test_whole_folds_are_called_by_their_numbers(cells):
    with pytest.warns(UserWarning) as warned:
        learning_curve(cells, {"o": Failing("not finite")}, (None,), 1, FOLDS, progress=False)
    assert [str(one.message)[:13] for one in warned] == ["'o' in fold 0", "'o' in fold 1", "'o' in fold 2"]


def test_a_store_resumes_and_shares_whole_folds_with_cross_validation(cells, tmp_path):
    settings = {"folds": FOLDS, "store": tmp_path / "store", "progress": False}
    cross_validate(cells, {"ridge": Ridge()}, within_fold=True, **settings)
    first = learning_curve(cells, {"ridge": Ridge()}, (30, None), 2, **settings)
    again = learning_curve(cells, {"ridge": Ridge()}, (None, 30), 2, **settings)
    more = learning_curve(cells, {"ridge": Ridge()}, (30, None), 3, **settings)
    assert (first.n_fitted, again.n_fitted, more.n_fitted) == (6, 0, 3)
    pd.testing.assert_frame_equal(first.scores, again.scores)


def test_networks_are_scored_at_their_last_stage(cells):
    stages = [Stage("finetuned", epochs=2, learning_rate=1e-3), Stage("pruned", epochs=2, learning_rate=1e-3)]
    network = SparseBottleneckRegressor(hidden=(8, 4), n_selected=5, schedule=stages)
    models = {"net": lambda n: network, "sRRR-2": ReducedRankRegressor(2, 0.3, relaxed=True)}
    found = learning_curve(cells, models, (40,), 1, KFold(2), progress=False, n_jobs=1).scores
    assert len(found) == 4 and list(found["n_selected"][:2]) == [5, 5]
    split = make_folds(cells, KFold(2))
    random = [np.random.default_rng([0, 0, fold]) for fold in range(2)]
    places = [draw_animals(cells.donors[one.train], 40, rng) for one, rng in zip(split, random, strict=True)]
    drawn = [(one.train[rng.permutation(own)], one.test) for one, own, rng in zip(split, places, random, strict=True)]
    result = cross_validate(cells, {"net": network}, drawn, within_fold=True, progress=False, n_jobs=1).scores
    np.testing.assert_array_equal(found["r2_test"][:2], result.loc[result["stage"] == "pruned", "r2_test"])


def test_cells_without_donors_are_drawn_one_by_one(cells):
    found = learning_curve(replace(cells, donors=None), {"ridge": Ridge()}, (20,), 1, KFold(2), progress=False)
    assert len(found.scores) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": 3}, "data must be PairedData"),
        ({"models": {}}, "models must be a dict"),
        ({"models": [Ridge()]}, "models must be a dict"),
        ({"models": {"a": Ridge}}, "should be an estimator"),
        ({"models": {"a": [Ridge()]}}, "should be an estimator"),
        ({"models": {"a": 3}}, "should be an estimator"),
        ({"models": {"a": lambda n: None}}, "should be an estimator"),
        ({"models": {"a": ClassMean("nothing")}}, "unknown of 'nothing'"),
        ({"sizes": ()}, "sizes must be a list of numbers of cells"),
        ({"sizes": "many"}, "sizes must be a list of numbers of cells"),
        ({"sizes": 50}, "sizes must be a list of numbers of cells"),
        ({"sizes": (1,)}, "every number in sizes must be at least 2"),
        ({"sizes": (50.0,)}, "every number in sizes must be a whole number"),
        ({"sizes": (50, 50)}, "got 50 twice"),
        ({"sizes": (120, None)}, "got 120 twice"),
        ({"sizes": (121,)}, "at most 120, the training cells of the smallest fold, got 121"),
        ({"n_draws": 0}, "n_draws must be at least 1"),
        ({"random_state": -1}, "random_state must be between"),
        ({"folds": "all"}, "folds must have test cells"),
        ({"n_jobs": "many"}, "n_jobs must be"),
        ({"data": "unknown", "folds": KFold(2)}, r"the group \(animal\) of 1 of 180 cells is not known"),
    ],
)
def test_errors_name_the_argument(cells, changed, message):
    if changed.get("data") == "unknown":
        changed = changed | {"data": replace(cells, donors=np.array([UNKNOWN, *cells.donors[1:]]))}
    arguments = {"data": cells, "models": {"ridge": Ridge()}, "sizes": (50,), "n_draws": 1, "folds": KFold(3)}
    with pytest.raises(ValueError, match=message):
        learning_curve(**arguments | changed, progress=False)


def test_it_is_public():
    assert sbnn.learning_curve is learning_curve and "learning_curve" in sbnn.__all__
    assert LearningCurve.__doc__
