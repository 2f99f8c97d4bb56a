"""What is wrong with an input is said before any work starts: the argument, what was expected, what came.

A table of cases, each with the class of its answer: an error that is clear, a warning beside a result that is right, or a
result that is right without a word. Nothing is silently wrong, nothing crashes, nothing hangs.
"""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

from sbnn import (
    PairedData,
    PairedModel,
    ReducedRankRegressor,
    SparseBottleneckRegressor,
    beyond_class,
    compare,
    cross_validate,
    gene_importance,
    load_dataset,
    load_model,
    load_results,
    normalise_counts,
    regularisation_path,
    save_results,
    select_variable_genes,
    simulate_patchseq,
)
from sbnn.data.preprocessing import Preprocessor
from sbnn.models.r2 import feature_r2, r2
from sbnn.models.reduced_rank import reduced_rank_path
from sbnn.models.schedules import SCHEDULES, Schedule, Stage, get_schedule
from sbnn.validation.folds import make_folds

DATA, _ = simulate_patchseq(n_cells=60, n_genes=30, n_features=4, n_informative=6, n_types=3, random_state=0)
X, Y = DATA.X, DATA.Y
COUNTS = pd.DataFrame(DATA.counts, index=DATA.cell_names, columns=DATA.gene_names)
FEATURES = pd.DataFrame(DATA.features, index=DATA.cell_names, columns=DATA.feature_names)
LINEAR = ReducedRankRegressor(2, 0.1).fit(X, Y)
MODEL = PairedModel(ReducedRankRegressor(2, 0.1)).fit(DATA)
CELLS = np.arange(60)
NAN, INF = float("nan"), float("inf")
GAPS = np.random.default_rng(0).random(Y.shape) < 0.2
HOLEY, MASKED = np.where(GAPS, NAN, Y), np.ma.masked_array(np.where(GAPS, -999, Y), GAPS)
ORDERED = pd.DataFrame(X, columns=DATA.gene_names), Y


class NotFinite(DummyRegressor):
    """Predicts NaN for the first cell it is asked about."""

    def predict(self, X):
        predictions = super().predict(X)
        predictions[0] = np.nan
        return predictions


class OneAxis(Ridge):
    """Predicts a single feature as one axis, as some regressors do."""

    def predict(self, X):
        return np.asarray(super().predict(X)).reshape(-1)


def network(**settings):
    return SparseBottleneckRegressor(**{"hidden": (8, 4), "n_selected": 5, **settings})


def fit(**settings):
    return network(**settings).fit(X, Y)


def fit_linear(**settings):
    return ReducedRankRegressor(**{"rank": 2, "alpha": 0.1, **settings}).fit(X, Y)


def validate(models=None, data=DATA, folds="paper", **settings):
    models = {"mean": DummyRegressor()} if models is None else models
    return cross_validate(data, models, folds, progress=False, **settings)


def pair(counts=COUNTS, features=FEATURES, **settings):
    return PairedData.from_tables(counts, features, **{"genes": None, **settings})


def changed(table, place, value):
    """A copy of an array or a table with another value in one place."""
    table = table.copy()
    if isinstance(table, pd.DataFrame):
        table = table.astype(object)
        table.iloc[place] = value
        return table.infer_objects()
    table = table.astype(np.result_type(table, type(value)) if isinstance(value, complex) else table.dtype)
    table[place] = value
    return table


def renamed(table, axis, place, name):
    """A copy of a table with another name in one place."""
    names = table.axes[axis].astype(object).to_numpy().copy()
    names[place] = name
    return table.set_axis(names, axis=axis)


def stage(**settings):
    return Stage(**{"name": "finetuned", "epochs": 1, "learning_rate": 1e-3, **settings})


#: Settings of a network: argument, value, what the error says.
NETWORK_SETTINGS = [
    ("n_selected", 2.5, "n_selected must be a whole number, at least 1, got 2.5"),
    ("n_selected", 0, "n_selected must be at least 1, got 0"),
    ("n_selected", -3, "n_selected must be at least 1, got -3"),
    ("n_selected", "25", "n_selected must be a whole number"),
    ("n_selected", True, "n_selected must be a whole number"),
    ("n_selected", NAN, "n_selected must be a whole number"),
    ("n_selected", 31, "n_selected must be between 1 and the 30 genes, got 31"),
    ("hidden", (), r"hidden must be the widths of one or more layers, such as \(512, 128\), got \(\)"),
    ("hidden", 5, "hidden must be the widths.*got 5"),
    ("hidden", None, "hidden must be the widths.*got None"),
    ("hidden", "512", "hidden must be the widths.*got '512'"),
    ("hidden", (8, 0), "every width in hidden must be at least 1, got 0"),
    ("hidden", (8, 2.5), "every width in hidden must be a whole number"),
    ("bottleneck_dim", 2.5, "bottleneck_dim must be a whole number"),
    ("bottleneck_dim", 0, "bottleneck_dim must be at least 1, got 0"),
    ("bottleneck_dim", None, "bottleneck_dim must be a whole number"),
    ("group_lasso", "x", "group_lasso must be a number, got 'x'"),
    ("group_lasso", -0.1, "group_lasso must be finite and at least 0, got -0.1"),
    ("group_lasso", NAN, "group_lasso must be finite and at least 0, got nan"),
    ("group_lasso", INF, "group_lasso must be finite and at least 0, got inf"),
    ("group_lasso", None, "group_lasso must be a number, got None"),
    ("group_lasso", [0.1, 0.2], r"group_lasso must be a number, got \[0.1, 0.2\]"),
    ("ridge", NAN, "ridge must be finite and at least 0, got nan"),
    ("ridge", -1, "ridge must be finite and at least 0, got -1"),
    ("random_state", -1, "random_state must be between 0 and 4294967295, got -1"),
    ("random_state", 0.5, "random_state must be a whole number"),
    ("random_state", "17", "random_state must be a whole number"),
    ("schedule", None, "schedule must be one of 'fast', 'stable', 'small', 'wide', 'paper'.*got None"),
    ("schedule", 3, "schedule must be one of 'fast', 'stable', 'small', 'wide', 'paper'.*got 3"),
    ("schedule", "fastest", "unknown schedule 'fastest': expected one of 'fast'"),
    ("schedule", [], "needs a sequence of Stage"),
    ("schedule", ["fast"], "needs a sequence of Stage"),
]

#: Settings of a linear model.
LINEAR_SETTINGS = [
    ("alpha", NAN, "alpha must be finite and more than 0, got nan"),
    ("alpha", 0, "alpha must be finite and more than 0, got 0"),
    ("alpha", -1, "alpha must be finite and more than 0, got -1"),
    ("alpha", INF, "alpha must be finite and more than 0, got inf"),
    ("alpha", "0.1", "alpha must be a number, got '0.1'"),
    ("alpha", None, "alpha must be a number, got None"),
    ("rank", 0, "rank must be at least 1, got 0"),
    ("rank", 2.5, "rank must be a whole number"),
    ("rank", 5, "rank must be between 1 and 4, got 5"),
    ("l1_ratio", 1.5, "l1_ratio must be at least 0 and at most 1, got 1.5"),
    ("l1_ratio", NAN, "l1_ratio must be at least 0 and at most 1, got nan"),
    ("l1_ratio", "x", "l1_ratio must be a number"),
    ("relaxed", "yes", "relaxed must be True or False, got 'yes'"),
    ("solver", "lars", "unknown solver 'lars': expected one of 'sklearn', 'glmnet'$"),
    ("solver", "glmnet_python", "unknown solver 'glmnet_python': expected one of 'sklearn', 'glmnet'$"),
    ("solver", None, "unknown solver None: expected one of 'sklearn', 'glmnet'$"),
]

#: Settings of a stage of training.
STAGE_SETTINGS = [
    ("epochs", 0, "epochs of stage 'finetuned' must be at least 1, got 0"),
    ("epochs", 2.5, "epochs of stage 'finetuned' must be a whole number"),
    ("learning_rate", 0, "learning_rate of stage 'finetuned' must be finite and more than 0, got 0"),
    ("learning_rate", NAN, "learning_rate of stage 'finetuned' must be finite and more than 0, got nan"),
    ("learning_rate", INF, "learning_rate of stage 'finetuned' must be finite"),
    ("batch_size", 0, "batch_size of stage 'finetuned' must be at least 1"),
    ("batch_size", 1.5, "batch_size of stage 'finetuned' must be a whole number"),
    ("cell_fraction", 0, "cell_fraction of stage 'finetuned' must be more than 0 and at most 1, got 0"),
    ("cell_fraction", 1.1, "cell_fraction of stage 'finetuned' must be more than 0 and at most 1, got 1.1"),
    ("cell_fraction", NAN, "cell_fraction of stage 'finetuned' must be more than 0"),
    ("input_dropout", 1, r"needs input_dropout in \[0, 1\)"),
    ("input_dropout", NAN, "input_dropout of stage 'finetuned' must be finite"),
    ("cluster_starts", 0, "cluster_starts of stage 'finetuned' must be at least 1"),
    ("evaluate_every", 0, "evaluate_every of stage 'finetuned' must be at least 1"),
    ("n_starts", 0, "n_starts of stage 'finetuned' must be at least 1"),
    ("n_starts", 3, "only the stage \"pruned\" has n_starts, got 3 in 'finetuned'"),
    ("decay", "linear", "unknown decay 'linear'"),
    ("freeze_hidden", "False", "freeze_hidden of stage 'finetuned' must be True or False, got 'False'"),
    ("proximal", 1, "proximal of stage 'finetuned' must be True or False, got 1"),
    ("name", "tuned", "unknown stage 'tuned'"),
]

#: Folds.
FOLDS = [
    ([], "folds must be .* got no fold at all"),
    (5, r"folds must be .* a splitter such as KFold\(5\), .* got 5"),
    ("papers", "unknown folds 'papers'"),
    ([CELLS], "folds must be .* entry 0 is array"),
    ([3], "folds must be .* entry 0 is 3"),
    ([(CELLS[:50], [])], "fold 0 has no test cells"),
    ([([], CELLS[50:])], "fold 0 has no training cells"),
    ([(CELLS[:50], CELLS[40:])], "fold 0 has cells that are both training and test cells"),
    ([(np.r_[CELLS[:50], 3], CELLS[50:])], "training cells of fold 0 names '3' more than once"),
    ([(CELLS[:50], [55, 55])], "test cells of fold 0 names '55' more than once"),
    ([(CELLS[:50], [60])], "test cells of fold 0 must be rows between 0 and 59, got 60"),
    ([(CELLS[:50], [-1])], "test cells of fold 0 must be rows between 0 and 59, got -1"),
    ([(np.arange(50) < 40, CELLS[50:])], r"training cells of fold 0 is a mask of shape \(50,\)"),
    ([(CELLS[:50] + 0.5, CELLS[50:])], "training cells of fold 0 must be a mask of all cells or a list of row numbers"),
    ([(["a", "b"], CELLS[50:])], "training cells of fold 0 must be a mask of all cells or a list of row numbers"),
    (KFold(61), "Cannot have number of splits n_splits=61 greater than the number of samples"),
]

#: Weights of cells.
WEIGHTS = [
    (-np.ones(60), "sample_weight must be finite and not negative, got -1"),
    (np.zeros(60), "sample_weight is zero for every cell"),
    (np.where(CELLS == 3, NAN, 1.0), "sample_weight must be finite and not negative, got nan"),
    (np.where(CELLS == 3, INF, 1.0), "sample_weight must be finite and not negative, got inf"),
    (np.ones(59), r"sample_weight must have one entry per cell, shape \(60,\), got shape \(59,\)"),
    (np.ones((60, 1)), r"sample_weight must have one entry per cell, shape \(60,\), got shape \(60, 1\)"),
    (np.full(60, 1e308), r"sample_weight holds values up to 1e\+308, whose sum overflows: scale it down"),
    (np.full(60, "1"), "sample_weight must hold numbers, got dtype"),
]

#: Matrices: what is wrong, X, Y, what the error says.
MATRICES = [
    ("NaN in X", changed(X, (3, 4), NAN), Y, "X holds 1 NaN or infinite value"),
    ("infinite X", changed(X, (3, 4), INF), Y, "X holds 1 NaN or infinite value"),
    ("infinite Y", X, changed(Y, (3, 1), -INF), "Y holds 1 infinite value"),
    ("Y without a value of a feature", X, np.where(np.arange(4) == 2, NAN, Y), "no value at all for feature"),
    ("Y without a value of a cell", X, np.where(CELLS[:, None] == 7, NAN, Y), "no value at all for cell"),
    ("other cells", X, Y[1:], "X and Y must have the same cells, got 60 and 59"),
    ("one cell", X[:1], Y[:1], "minimum of 2 is required"),
    ("X of three axes", X[None], Y, "(?i)expected|dim 3"),
    ("Y of three axes", X, Y[:, :, None], "(?i)dim 3|two-dimensional"),
    ("complex X", X * 1j, Y, "(?i)complex"),
    ("complex Y", X, Y * 1j, "(?i)complex"),
    ("words in X", np.full(X.shape, "high"), Y, "(?i)could not convert|numbers"),
    ("words in Y", X, np.full(Y.shape, "high"), "(?i)could not convert|numbers"),
    ("sparse X", sparse.csr_matrix(X), Y, "(?i)sparse"),
    ("no cells", X[:0], Y[:0], "(?i)minimum|0 sample"),
]

#: Tables of the reader's own: what is wrong, counts, features, what the error says.
TABLES = [
    ("array for counts", DATA.counts, FEATURES, "counts must be a DataFrame or the path of a CSV file, got ndarray"),
    ("Series for features", COUNTS, FEATURES.iloc[:, 0], "features must be a DataFrame .* got Series"),
    ("list for counts", [[1, 2]], FEATURES, "counts must be a DataFrame .* got list"),
    ("None for features", COUNTS, None, "features must be a DataFrame .* got NoneType"),
    ("empty counts", COUNTS.iloc[:0], FEATURES, "counts is empty: 0 rows and 30 columns"),
    ("no genes", COUNTS.iloc[:, :0], FEATURES, "counts is empty: 60 rows and 0 columns"),
    ("empty features", COUNTS, FEATURES.iloc[:0], "features is empty: 0 rows"),
    ("no features", COUNTS, FEATURES.iloc[:, :0], "features is empty: 60 rows and 0 columns"),
    ("negative counts", changed(COUNTS, (3, 4), -1), FEATURES, "counts must not be negative, the smallest value is -1"),
    (
        "NaN among counts",
        changed(COUNTS, (3, 4), NAN),
        FEATURES,
        "counts holds 1 NaN or infinite value.s., the first in cell 'cell03', gene 'gene04'",
    ),
    ("infinite counts", changed(COUNTS, (3, 4), INF), FEATURES, "counts holds 1 NaN or infinite value"),
    ("complex counts", COUNTS * 1j, FEATURES, "counts must hold real numbers only.*complex"),
    ("complex features", COUNTS, FEATURES * 1j, "features must hold real numbers only.*complex"),
    ("words among features", COUNTS, changed(FEATURES, (3, 1), "high"), "features must hold real numbers .*'high'"),
    (
        "decimal commas",
        COUNTS,
        changed(FEATURES, (3, 1), "1,5"),
        "features holds numbers with commas, such as '1,5' .* sep=';', decimal=',', index_col",
    ),
    ("dates for features", COUNTS, FEATURES.assign(day=pd.Timestamp(0)), "column.s. 'day' hold text, dates"),
    ("a gene without a name", renamed(COUNTS, 1, 3, NAN), FEATURES, "1 of 30 columns of counts are missing or blank"),
    ("a gene named None", renamed(COUNTS, 1, 3, None), FEATURES, "1 of 30 columns of counts are missing or blank"),
    (
        "a gene with a blank name",
        renamed(COUNTS, 1, 3, " "),
        FEATURES,
        "1 of 30 columns of counts are missing or blank",
    ),
    ("a cell without a name", renamed(COUNTS, 0, 3, NAN), FEATURES, "1 of 60 rows of counts are missing or blank"),
    ("a measured cell without a name", COUNTS, renamed(FEATURES, 0, 3, pd.NA), "1 of 60 rows of features are missing"),
    ("a feature without a name", COUNTS, renamed(FEATURES, 1, 1, NAN), "1 of 4 columns of features are missing"),
    ("a gene twice", renamed(COUNTS, 1, 3, "gene00"), FEATURES, "duplicate genes in counts: 'gene00'"),
    ("a cell twice", renamed(COUNTS, 0, 3, DATA.cell_names[0]), FEATURES, "duplicate cells in counts"),
    ("a feature twice", COUNTS, renamed(FEATURES, 1, 1, DATA.feature_names[0]), "duplicate features"),
    ("no cell in common", COUNTS.set_axis([f"x{i}" for i in CELLS]), FEATURES, "no cell in common"),
    ("transposed counts", COUNTS.T, FEATURES, "counts is transposed: its columns, not its rows"),
    ("numbered rows", COUNTS.reset_index(drop=True), FEATURES, "counts has no names in its index"),
    ("names of two levels", pd.concat({"a": COUNTS}), FEATURES, "rows of counts have names of several levels"),
    ("transposed features", COUNTS, FEATURES.T, "features is transposed: its columns, not its rows"),
    (
        "two genes that became one date",
        renamed(renamed(COUNTS, 1, 3, "1-Mar"), 1, 4, "1-Mar"),
        FEATURES,
        "duplicate genes",
    ),
    ("a feature never measured", COUNTS, FEATURES.assign(Sag=NAN), "no value at all for feature.s. 'Sag'"),
    ("an infinite feature", COUNTS, changed(FEATURES, (3, 1), INF), "features is infinite for feature"),
    ("counts without any count", COUNTS * 0, FEATURES, "none of the 60 cells has a count of the chosen genes"),
]

#: Choices of genes.
GENES = [
    ([], "genes is empty: give a number, names of genes, or None for all"),
    (["gene01", "gene02", "gene01"], "duplicate names in genes: 'gene01'"),
    (["gene01", "Pvalb"], "counts lacks the genes 'Pvalb'"),
    (["gene01", None], "1 of 2 names in genes are missing or blank"),
    ("gene01", "genes must be a whole number, a list of names or None, got 'gene01'"),
    (0, "genes must be at least 1, got 0"),
    (-5, "genes must be at least 1, got -5"),
    (2.5, "genes must be a whole number"),
    (True, "genes must be a whole number"),
]

#: Files: content, what the error says.
FILES = {
    "comma decimals, two features": (
        "cell,a,b\nc0,1,5,2,5\nc1,1,5,2,5\n",
        "3 names above 5 columns: are there decimal",
    ),
    "semicolons and commas": (
        "cell;a;b\nc0;1,5;2,5\nc1;0,5;3,5\n",
        "t holds numbers with commas, such as '1,5' in column.*sep=';', decimal=',', index_col",
    ),
    "thousands": ('cell,a,b\nc0,"2,184",2\nc1,"11,638",4\n', "as '2,184' in column.*sep=',', thousands=',', index_col"),
    "thousands and decimals": (
        "cell;a;b\nc0;1.234,50;2\nc1;7,25;4\n",
        "sep=';', decimal=',', thousands='.', index_col",
    ),
    "a marker beside words": ("cell,a,b\nc0,1,n.d.\nc1,3,high\n", "column.s. 'b' .*, such as 'high'"),
    "a spreadsheet under another name": (b"PK\x03\x04\xff\xff", "is a zip or a spreadsheet"),
    "HDF5": (b"\x89HDF\r\n\x1a\n\xff", "is an HDF5 file"),
    "Latin-1 with semicolons": ("cell;größe;b\nc0;1;2\n".encode("latin-1"), "sep=';', encoding='latin-1'"),
    "UTF-16 with tabs": ("cell\ta\tb\nc0\t1\t2\n".encode("utf-16"), r"sep='\\t', encoding='utf-16'"),
    "a last row cut short": ("cell,a,b\nc0,1,2\nc1,3\n", "row 2 of .* has 2 of 3 entries: cut short"),
    "a row cut short in the middle": ("cell,a,b\nc0,1,2\nc1,3\nc2,4,5\n", "row 2 of .* has 2 of 3 entries"),
    "NUL bytes": (b"cell,a,b\nc0,1\x002,2\nc1,3,4\n", "is damaged or not a table.*NUL"),
    "one decimal comma": ("cell,a\nc0,1,5\nc1,2,5\n", "2 names above 3 columns: are there decimal commas"),
    "the name of the names twice": ("a,a,b\nc0,1,2\n", "has two columns called 'a'"),
    "an open quotation mark": ("cell,a,b\n" + '"' + "c0,1,2\n" * 400, "(?s)."),
    "a row too long": ("cell,a,b\nc0,1,2\nc1,3,4,5\n", "is damaged or not a table"),
    "nothing": ("", "is not a table"),
    "one byte": (b"\xff", "is not written in UTF-8"),
    "a field without end": ("cell,a,b\nc0,1," + "2" * 200_000 + "\n", "is damaged or not a table.*field larger than"),
    "a header alone": ("cell,a,b\n", "is empty: it has no row below its first line"),
    "no separator": ("hello\nworld\n", "is not a table, its first line has no commas"),
    "words": ("cell,a,b\nc0,1,high\nc1,3,4\n", "must hold real numbers only, but column.s. 'b' .* as 'high'"),
    "a row without a name": ("cell,a,b\nc0,1,2\n,3,4\n", "1 of 2 rows of t are missing or blank"),
    "a column without a name": ("cell,a,\nc0,1,2\nc1,3,4\n", "1 of 2 columns of t are missing or blank"),
    "a column twice": ("cell,a,a\nc0,1,2\nc1,3,4\n", "duplicate columns in t: 'a'"),
    "Latin-1": ("cell,größe,b\nc0,1,2\nc1,3,4\n".encode("latin-1"), "not written in UTF-8.*encoding='latin-1'"),
    "UTF-16": ("cell,a,b\nc0,1,2\nc1,3,4\n".encode("utf-16"), "not written in UTF-8.*encoding='utf-16'"),
}

#: Everything else: what is wrong, a call, what the error says.
CALLS = [
    ("score of one feature", lambda: LINEAR.score(X, Y[:, :1]), r"y must have the 4 features that the model was fitted on, got shape \(60, 1\)"),
    ("score of other cells", lambda: LINEAR.score(X, Y[1:]), "X and Y must have the same cells, got 60 and 59"),
    ("score of one axis", lambda: LINEAR.score(X, Y[:, 0]), "y must have the 4 features that the model was fitted on"),
    ("predict other genes", lambda: LINEAR.predict(X[:, 1:]), "29 features, but ReducedRankRegressor is expecting 30"),
    ("predict NaN", lambda: LINEAR.predict(changed(X, (0, 0), NAN)), "X holds 1 NaN or infinite"),
    ("r2 of other shapes", lambda: r2(Y, Y[:, :1], Y.mean(0)), "must have the shape of Y"),
    ("feature_r2 of other shapes", lambda: feature_r2(Y, Y.T, Y.mean(0)), "must have the shape of Y"),
    ("Y of 1e30", lambda: network().fit(X, Y * 1e30), "training diverged in the stage .* y up to .*e\\+3"),
    ("X of 1e30", lambda: network().fit(X * 1e30, Y), "training diverged in the stage .* X holds values up to .*e\\+3"),
    ("linear X of 1e200", lambda: ReducedRankRegressor().fit(X.astype(float) * 1e200, Y), "X holds values up to .* over"),
    ("linear Y of 1e200", lambda: ReducedRankRegressor().fit(X, Y.astype(float) * 1e200), "Y holds values up to .* over"),
    ("no alphas", lambda: reduced_rank_path(X, Y, []), "alphas must be one or more penalties"),
    ("solver of a path", lambda: reduced_rank_path(X, Y, [0.1], solver="lars"), "unknown solver 'lars': expected one of"),
    ("a single alpha", lambda: reduced_rank_path(X, Y, 0.1), "alphas must be one or more penalties, got 0.1"),
    ("mask of 50 cells", lambda: DATA.subset(np.arange(50) < 3), r"cells is a mask of shape \(50,\): it needs one entry"),
    ("mask of 2 cells", lambda: DATA.subset([True, False]), r"cells is a mask of shape \(2,\): it needs one entry per"),
    ("a row that is not there", lambda: DATA.subset([60]), "cells must be rows between 0 and 59, got 60"),
    ("a row twice", lambda: DATA.subset([1, 1]), "cells names '1' more than once"),
    ("rows that are no numbers", lambda: DATA.subset(["a"]), "cells must be a mask of all cells or a list of row numbers"),
    ("rows as fractions", lambda: DATA.subset([0.0, 1.0]), "cells must be a mask of all cells or a list of row numbers"),
    ("models of nothing", lambda: validate({}), "models is empty"),
    ("no model of a name", lambda: validate({"a": [], "b": Ridge()}), r"models\['a'\] is an empty list"),
    ("processes as text", lambda: validate(n_jobs="4"), "n_jobs must be a whole number or None, got '4'"),
    ("half a process", lambda: validate(n_jobs=1.5), "n_jobs must be a whole number or None, got 1.5"),
    ("nothing to annotate", lambda: MODEL.annotate(None), "adata must be an AnnData, got NoneType"),
    ("features of nothing", lambda: PairedData.from_anndata(DATA.to_anndata(), None), "features must be a key of adata.obsm or a list of columns of adata.obs, got None"),
    ("features of 5", lambda: PairedData.from_anndata(DATA.to_anndata(), 5), "features must be a key of adata.obsm .* got 5"),
    ("a list of models", lambda: validate([Ridge()]), "models must be a dict of name: estimator"),
    ("no estimator", lambda: validate({"a": 3}), r"models\['a'\] should be an estimator"),
    ("a class", lambda: validate({"a": Ridge}), r"models\['a'\] should be an estimator"),
    ("settings of a model", lambda: validate({"a": network(ridge=NAN)}), r"models\['a'\]: ridge must be finite"),
    ("too many genes", lambda: validate({"a": network(n_selected=31)}), r"models\['a'\]: n_selected must be between 1"),
    ("alpha of a model", lambda: validate({"a": ReducedRankRegressor(alpha=NAN)}), r"models\['a'\]: alpha must be finite"),
    ("no data", lambda: validate(data=X), "data must be PairedData, .* got ndarray"),
    ("an unknown table", lambda: validate(keep=["weights"]), "unknown table to keep 'weights'"),
    ("a table as text", lambda: validate(keep="latents"), "keep must be a collection of 'predictions', 'latents'"),
    ("no processes", lambda: validate(n_jobs=0), "n_jobs == 0"),
    ("a stack of 1.5", lambda: validate({"a": network()}, stack_size=1.5), "stack_size must be a whole number"),
    ("donors unknown", lambda: make_folds(replace(DATA, donors=None), "donor"), "need data.donors, which is None"),
    ("groups unknown", lambda: make_folds(replace(DATA, donors=None), GroupKFold(3)), "need data.donors, which is None"),
    ("a donor missing", lambda: make_folds(replace(DATA, donors=np.where(CELLS < 2, None, "m")), "donor"),
     "the donor of 2 of 60 cells is not known"),
    ("a donor blank", lambda: make_folds(replace(DATA, donors=np.where(CELLS < 2, " ", "m")), GroupKFold(2)),
     "the donor of 2 of 60 cells is not known"),
    ("one donor", lambda: make_folds(replace(DATA, donors=["m"] * 60), "donor"), "at least 2 donors, got 1"),
    ("few cells", lambda: validate(data=DATA.subset(CELLS[:9])), "10 folds need at least 10 cells, got 9"),
    ("an unknown data set", lambda: load_dataset("scala"), "unknown dataset 'scala': expected one of"),
    ("Ridge in a PairedModel", lambda: PairedModel(Ridge()), r"estimator must be a SparseBottleneckRegressor\(\) or"),
    ("a class in a PairedModel", lambda: PairedModel(ReducedRankRegressor), "got ReducedRankRegressor: only these"),
    ("settings in a PairedModel", lambda: PairedModel(network(hidden=())).fit(DATA), "hidden must be the widths"),
    ("a table for PairedModel", lambda: PairedModel().fit(COUNTS), "data must be PairedData, .* got DataFrame"),
    ("an array for a PairedModel", lambda: MODEL.predict(DATA.counts), "cells must be a DataFrame, an AnnData or Paired"),
    ("a Series for a PairedModel", lambda: MODEL.predict(COUNTS.iloc[0]), "cells must be a DataFrame, .* got Series"),
    ("a table to plot", lambda: MODEL.plot(COUNTS), "data must be PairedData, .* got DataFrame"),
    ("a path for an AnnData", lambda: PairedData.from_anndata("c.h5ad", "ephys"), "adata must be an AnnData, .* got str"),
    ("a path for a MuData", lambda: PairedData.from_mudata("c.h5mu"), "mdata must be a MuData, .* got str"),
    ("a number for a store", lambda: validate(store=3), "store must be the path of a folder, got 3"),
    ("a model without a name", lambda: validate({None: Ridge()}), "names of models must be text, got None"),
    ("a model named twice over", lambda: validate({("a", "b"): Ridge()}), "names of models must be text"),
    ("a feature called fold", lambda: validate(data=replace(DATA, feature_names=["fold", "b", "c", "d"])), "a feature is called 'fold', which is a column of the tables"),
    ("too large a rank", lambda: validate({"a": ReducedRankRegressor(5)}), r"models\['a'\]: rank must be between 1 and 4, got 5"),
    ("within_fold as text", lambda: validate(within_fold="no"), "within_fold must be True or False, got 'no'"),
    ("classes unknown", lambda: make_folds(replace(DATA, cell_types=None), StratifiedKFold(2)), "StratifiedKFold needs data.cell_types"),
    ("no folds", lambda: make_folds(DATA, None), "folds must be .* got None"),
    ("a splitter's class", lambda: make_folds(DATA, KFold), "folds must be"),
    ("a number of 400 digits", lambda: fit(ridge=10**400), "ridge must be finite and at least 0"),
    ("masked counts", lambda: normalise_counts(np.ma.masked_array(DATA.counts, DATA.counts > 3)), "counts is a masked array"),
    ("masked weights", lambda: LINEAR.score(X, Y, np.ma.masked_array(np.ones(60), CELLS > 3)), "sample_weight is a masked array"),
    ("masked X", lambda: LINEAR.predict(np.ma.masked_array(X, X > 3)), "X holds .* NaN or infinite"),
    ("masked X in training", lambda: fit_linear().fit(np.ma.masked_array(X, X > 3), Y), "X holds .* NaN or infinite"),
    ("masked rows", lambda: validate(folds=[(np.ma.masked_array(CELLS[:50], CELLS[:50] < 3), CELLS[50:])]), "training cells of fold 0 is a masked array: leave out"),
    ("masked mask", lambda: DATA.subset(np.ma.masked_array(CELLS < 7, CELLS < 3)), "cells is a masked array: leave out"),
    ("a depth of -1", lambda: normalise_counts(DATA.counts, -1), "median_depth must be finite and more than 0, got -1"),
    ("counts where expression was fitted", lambda: Preprocessor().fit(None, Y, X).transform_genes(DATA.counts), "was fitted on expression"),
    ("depth where expression was fitted", lambda: Preprocessor().fit(None, Y, X).normalise(DATA.counts), "was fitted on expression"),
    ("features of another width", lambda: MODEL.preprocessor_.inverse_transform_features(Y[:, :1]), "got 1 features"),
    ("units as text", lambda: replace(DATA, feature_units="mVms"), "feature_units must be a sequence of text or None, got 'mVms'"),
    ("units as a dict", lambda: replace(DATA, feature_units=dict.fromkeys("abcd")), "feature_units must be a sequence"),
    ("a gene name NaN in a list", lambda: replace(DATA, gene_names=[NAN, *DATA.gene_names[1:]]), "gene names are missing or blank"),
    ("a table in another order", lambda: replace(DATA, X=pd.DataFrame(X, DATA.cell_names, DATA.gene_names).iloc[::-1]), "X has rows that differ from cell_names"),
    ("a mask in another order", lambda: DATA.subset(pd.Series(CELLS < 7, DATA.cell_names).iloc[::-1]), "cells is a Series whose index is not"),
    ("validation genes in another order", lambda: network().fit(*ORDERED, validation_data=(ORDERED[0].iloc[:, ::-1], Y)), "validation_data should have the genes of X"),
    ("importance in no result", lambda: gene_importance(None, DATA), "result must be a CrossValidation"),
    ("importance in an array", lambda: gene_importance(None, X), "data must be PairedData"),
    ("a comparison in no result", lambda: compare(None, DATA), "result must be a CrossValidation"),
    ("a comparison in an array", lambda: compare(None, X), "data must be PairedData"),
    ("beyond the class in no result", lambda: beyond_class(None, DATA), "result must be a CrossValidation"),
    ("beyond the class of an array", lambda: beyond_class(None, X), "data must be PairedData"),
    ("a path of NaN ridge", lambda: regularisation_path(DATA, network(ridge=NAN)), "ridge must be finite"),
    ("a path of an array", lambda: regularisation_path(X, network()), "data must be PairedData"),
    ("a table with an index", lambda: save_results("r.pickle", {"t": COUNTS}), "an index without a name"),
    ("two columns of one name", lambda: save_results("r.pickle", {"t": pd.DataFrame([[1, 2]], columns=["a", "a"])}), "text and unique"),
    ("a note that the file needs", lambda: save_results("r.pickle", {}, format="png"), "'format' is a name that the file needs"),
    ("a file for a store", lambda: validate(store=__file__), "store must be a folder, .* is a file"),
    ("no gene of the model", lambda: MODEL.predict(COUNTS.add_prefix("x")), "have none of the 30 genes of the model"),
    ("genes missing", lambda: MODEL.predict(COUNTS.iloc[:, 2:]), "the cells lack 2 of the 30 genes of the model"),
    ("negative counts to predict", lambda: MODEL.predict(-COUNTS), "cells must not be negative"),
    ("NaN to predict", lambda: MODEL.predict(changed(COUNTS, (0, 0), NAN)), "cells holds 1 NaN or infinite"),
    ("names missing to predict", lambda: MODEL.predict(renamed(COUNTS, 1, 0, NAN)), "columns of cells are missing"),
    ("no file of a model", lambda: load_model("none.sbnn"), "none.sbnn"),
    ("no file of results", lambda: load_results("none.pickle"), "none.pickle is missing: run `make train`"),
    ("results of objects", lambda: save_results("r.pickle", {}, value=object()), "plain values and arrays only"),
    ("a path that falls", lambda: regularisation_path(DATA, network(), [0.2, 0.1]), "increasing penalties"),
    ("a path of NaN", lambda: regularisation_path(DATA, network(), [0.1, NAN]), "increasing penalties"),
    ("a path of Ridge", lambda: regularisation_path(DATA, Ridge()), "estimator should be a SparseBottleneckRegressor"),
    ("a path of 1.5 epochs", lambda: regularisation_path(DATA, network(), epochs=1.5), "epochs .*must be a whole number"),
    ("n_genes of 0", lambda: select_variable_genes(DATA.counts, 0), "n_genes must be at least 1, got 0"),
    ("n_genes of 2.5", lambda: select_variable_genes(DATA.counts, 2.5), "n_genes must be a whole number"),
    ("n_genes of 31", lambda: select_variable_genes(DATA.counts, 31), "n_genes must be between 1 and the"),
    ("negative counts to select", lambda: select_variable_genes(-DATA.counts, 5), "must not be negative"),
    ("complex counts to normalise", lambda: normalise_counts(DATA.counts * 1j), "must hold real numbers only"),
    ("a cell without counts", lambda: normalise_counts(changed(DATA.counts, 3, 0)), "zero counts over the selected genes"),
    ("counts and expression", lambda: Preprocessor().fit(DATA.counts, Y, X), "give either counts or expression"),
    ("a constant gene", lambda: Preprocessor().fit(None, Y, X * 0), "genes with zero variance cannot be z-scored"),
    ("X and names differ", lambda: replace(DATA, gene_names=DATA.gene_names[1:]), "gene_names must have one entry per gene"),
    ("a gene name missing", lambda: replace(DATA, gene_names=[None, *DATA.gene_names[1:]]), "gene names are missing"),
    ("units of 3 features", lambda: replace(DATA, feature_units=("mV",) * 3), "feature_units must have one entry per"),
    ("complex X in PairedData", lambda: replace(DATA, X=X * 1j), "X must hold real numbers only, got dtype complex"),
    ("dates in PairedData", lambda: replace(DATA, X=np.full(X.shape, np.datetime64("2020"))), "X must hold real numbers"),
    ("stages out of order", lambda: Schedule("s", [stage(name="pruned"), stage()]), "stages must come in the order"),
    ("a schedule of half an epoch", lambda: SCHEDULES["fast"].shortened(0), "factor must be finite and more than 0"),
    ("a schedule of NaN", lambda: SCHEDULES["fast"].shortened(NAN), "factor must be finite and more than 0"),
    ("no schedule", lambda: get_schedule(None), "schedule must be one of 'fast', 'stable', 'small', 'wide', 'paper'"),
]  # fmt: skip


def cases():
    """Every case as (what is wrong, call, what the error says)."""
    for name, value, message in NETWORK_SETTINGS:
        yield f"network {name}={value!r}", lambda name=name, value=value: fit(**{name: value}), message
    for name, value, message in LINEAR_SETTINGS:
        yield f"linear {name}={value!r}", lambda name=name, value=value: fit_linear(**{name: value}), message
    for name, value, message in STAGE_SETTINGS:
        yield f"stage {name}={value!r}", lambda name=name, value=value: stage(**{name: value}), message
    for number, (folds, message) in enumerate(FOLDS):
        yield f"folds {number}", lambda folds=folds: validate(folds=folds), message
    for number, (weights, message) in enumerate(WEIGHTS):
        yield f"weights in fit {number}", lambda w=weights: network().fit(X, Y, sample_weight=w), message
        yield f"weights in score {number}", lambda w=weights: LINEAR.score(X, Y, sample_weight=w), message
    for what, genes, features, message in MATRICES:
        yield f"network, {what}", lambda genes=genes, features=features: network().fit(genes, features), message
        yield (
            f"linear, {what}",
            lambda genes=genes, features=features: ReducedRankRegressor().fit(genes, features),
            message,
        )
    for what, counts, features, message in TABLES:
        yield f"table, {what}", lambda counts=counts, features=features: pair(counts, features), message
    for number, (genes, message) in enumerate(GENES):
        yield f"genes {number}", lambda genes=genes: pair(genes=genes), message
    yield from CALLS


@pytest.mark.parametrize(("call", "message"), [pytest.param(*case[1:], id=case[0]) for case in cases()])
def test_it_is_refused(call, message, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    # scikit-learn's answer to sparse matrices is a TypeError
    refusals = TypeError if "sparse X" in request.node.name else (ValueError, FileNotFoundError)
    # 1e30 overflows on its way to the error, and NaN are no numbers to scikit-learn either.
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        pytest.raises(refusals, match=message),
    ):
        warnings.simplefilter("ignore")
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", FILES)
def test_a_file_is_refused(what, tmp_path):
    from sbnn.data.named_tables import read_table

    content, message = FILES[what]
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=message):
        read_table(path, "t")


@pytest.mark.parametrize("ending", [".zip", ".bz2", ".xz", ".ZIP"])
def test_a_file_compressed_in_another_way_is_refused(ending, tmp_path):
    with pytest.raises(ValueError, match=rf"counts: .*t.csv{ending} is compressed \({ending.lower()}\): unpack it, or"):
        pair(tmp_path / f"t.csv{ending}")


@pytest.mark.parametrize("ending", [".xlsx", ".xls", ".ods", ".XLSX"])
def test_a_spreadsheet_is_refused(ending, tmp_path):
    path = tmp_path / f"t{ending}"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="counts: .* is a spreadsheet file: save it as CSV UTF-8 there, or read it"):
        pair(path)
    with pytest.raises(ValueError, match="cells: .* is a spreadsheet file"):
        pair(cells=path, cell_types="type")


def numbers(text, path):
    """Read a table from text."""
    from sbnn.data.named_tables import read_table

    path.write_text(text)
    return read_table(path, "t")


#: A call that works, what is warned of, and what is right about the result.
NOTED = {
    "#N/A and n.d.": (
        lambda path: numbers("cell,a,b\nc0,#N/A,2\nc1,3,n.d.\nc2,4,5\n", path),
        r"t: read as missing values: '#N/A' \(1\), 'n.d.' \(1\)",
        lambda table: table.isna().to_numpy().sum() == 2 and table.loc["c2"].tolist() == [4, 5],
    ),
    "errors of a spreadsheet": (
        lambda path: numbers("cell,a,b\nc0,#DIV/0!,2\nc1,3,#VALUE!\nc2,4,5\n", path),
        "t: read as missing values: '#DIV/0!'",
        lambda table: table.isna().to_numpy().sum() == 2,
    ),
    "a table of R": (
        lambda path: numbers("a,b\nc0,1,2\nc1,3,4\n", path),
        "2 names above 3 columns: read as a table written by R",
        lambda table: table.columns.tolist() == ["a", "b"] and table.loc["c1"].tolist() == [3, 4],
    ),
    "sentinels": (
        lambda path: pair(features=changed(FEATURES, ([3, 4], [1, 1]), -999.0)),
        r"features holds -999 \(2 times\) in 'feature 2': numbers like these often stand for missing.*replace.-999, float",
        lambda data: np.isfinite(data.Y).all(),
    ),
    "a sentinel no larger than the values": (
        lambda path: pair(features=changed(FEATURES.abs() * 500, (3, 1), -999.0)),
        r"features holds -999 \(1 times\) in 'feature 2'",
        lambda data: np.isfinite(data.Y).all(),
    ),
    "n.d. in a DataFrame": (
        lambda path: pair(features=changed(FEATURES, (3, 1), "n.d.")),
        r"features: read as missing values: 'n.d.' \(1\)",
        lambda data: np.isnan(data.Y[3, 1]) and np.isnan(data.Y).sum() == 1,
    ),
    "more genes than there are": (
        lambda path: pair(genes=500),
        "genes=500: counts has 30 genes with any count, and all of them are taken",
        lambda data: data.n_genes == 30,
    ),
    "German months, numbers for identifiers": (
        lambda path: pair(renamed(renamed(COUNTS, 1, 3, "01. Mrz"), 1, 4, "2.31E+13")),
        "2 genes in counts have names that are dates.*'01. Mrz' may be MARCHF1",
        lambda data: data.n_genes == 30,
    ),
    "dates for genes": (
        lambda path: pair(renamed(renamed(COUNTS, 1, 3, "1-Mar"), 1, 4, "Sep-7")),
        r"2 genes in counts have names that are dates.*'1-Mar' may be MARCHF1, .*'Sep-7' may be SEPTIN7",
        lambda data: data.n_genes == 30,
    ),
    "times for genes": (
        lambda path: pair(renamed(COUNTS, 1, 3, pd.Timestamp("2024-09-02"))),
        "'2024-09-02 00:00:00' may be SEPTIN2",
        lambda data: data.n_genes == 30,
    ),
    "cells that one table lacks": (
        lambda path: pair(features=FEATURES.iloc[5:]),
        "5 of 60 cells of counts are left out, features lacks them",
        lambda data: data.n_cells == 55,
    ),
    "fractions": (
        lambda path: pair(COUNTS / 7),
        "counts holds fractions such as",
        lambda data: data.n_cells == 60,
    ),
    "no curve for this number of genes": (
        lambda path: pair(pd.concat([COUNTS, COUNTS.add_suffix("b")], axis=1), genes=21),
        "genes=21: no curve selects exactly 21 genes, the nearest selects 2[02], which are taken",
        lambda data: data.n_genes in (20, 22),
    ),
    "NaN predictions": (
        lambda path: validate({"odd": NotFinite()}, folds=KFold(3)).scores,
        "'odd' in fold 0 predicts values that are not finite, for 0 training and 1 test cells: R2 of these cells is NaN",
        lambda scores: scores[["r2_train", "r2_test"]].isna().to_numpy().tolist() == [[False, True], [True, False], [True, False]],
    ),
    "a network that diverges": (
        lambda path: validate({"odd": [network(), network(schedule=[stage(learning_rate=1e30, epochs=2)])]}, folds=KFold(2)).scores,
        "'odd' in fold 0 diverged in the stage",
        lambda scores: scores.groupby("schedule")["r2_test"].apply(lambda r2: r2.isna().all()).to_dict()
        == {"fast": False, "own (finetuned 2)": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTED)
def test_it_is_noted_and_right(what, tmp_path):
    call, message, is_right = NOTED[what]
    with np.errstate(all="ignore"), pytest.warns(UserWarning, match=message):
        result = call(tmp_path / "t.csv")
    assert is_right(result)


#: Calls that look unusual and are right without a word.
FINE = {
    "brackets that hold no units": (
        lambda: pair(features=FEATURES.set_axis(["ISI (min)", "ISI (max)", "CD4 (A)", "Sex (M)"], axis=1)),
        lambda data: data.feature_names.tolist() == ["ISI (min)", "ISI (max)", "CD4 (A)", "Sex (M)"] and data.feature_units is None,
    ),
    "genes of worms": (lambda: pair(renamed(COUNTS, 1, 3, "sep-1")), lambda data: "sep-1" in data.gene_names),
    "types called ND": (lambda: replace(DATA, cell_types=["ND"] * 60, type_colors=None), lambda data: (data.cell_types == "ND").all()),
    "stratified folds": (lambda: make_folds(DATA, StratifiedKFold(2)), lambda folds: len(folds) == 2),
    "weights of any scale": (
        lambda: network().fit(X, Y + 5, sample_weight=np.full(60, 1e-30)).y_mean_,
        lambda means: means == pytest.approx((Y + 5).mean(axis=0), abs=1e-3),
    ),
    "features in ampere": (
        lambda: pair(features=FEATURES.assign(amp=1e-11 + 8e-13 * FEATURES.iloc[:, 0].rank())),
        lambda data: np.allclose(data.Y[:, -1].std(), 1, atol=1e-4),
    ),
    "sparse tables with NaN for nothing": (lambda: pair(COUNTS.astype("Sparse[float]")), lambda data: np.allclose(data.X, pair().X)),
    "masked features": (
        lambda: replace(DATA, Y=np.ma.masked_array(np.where(CELLS[:, None] < 2, -999, Y), np.broadcast_to(CELLS[:, None] < 2, Y.shape))),
        lambda data: np.isnan(data.Y[:2]).all() and np.isfinite(data.Y[2:]).all(),
    ),
    "a score of masked features": (
        lambda: (LINEAR.score(X, MASKED), r2(MASKED, LINEAR.predict(X), LINEAR.y_mean_)),
        lambda scores: scores == (LINEAR.score(X, HOLEY),) * 2,
    ),
    "masked predictions": (
        lambda: feature_r2(Y, np.ma.masked_array(Y, np.arange(4) == np.where(CELLS == 5, 1, -1)[:, None]), Y.mean(0)),
        lambda scores: np.isnan(scores).tolist() == [False, True, False, False],
    ),
    "masked features to fit": (
        lambda: (fit_linear().fit(X, MASKED).predict(X), ReducedRankRegressor(2, 0.1).fit(X, HOLEY).predict(X)),
        lambda both: np.array_equal(*both),
    ),
    "masked features of validation": (
        lambda: [network(schedule=[stage()]).fit(X, Y, validation_data=(X, features)).history_["r2_test"] for features in (MASKED, HOLEY)],
        lambda both: np.array_equal(*both),
    ),
    "models that differ in class alone": (
        lambda: validate({"m": [Lasso(0.1), ElasticNet(0.1)]}, folds=KFold(2)).summary(),
        lambda table: len(table) == 2,
    ),
    "units in names": (
        lambda: pair(features=FEATURES.set_axis(["R_in (MOhm)", "AP amp [mV]", "Sag", "CD45 (PTPRC)"], axis=1)),
        lambda data: data.feature_names.tolist() == ["R_in", "AP amp", "Sag", "CD45 (PTPRC)"]
        and data.feature_units == ("MOhm", "mV", None, None),
    ),
    "a mask of all cells": (lambda: DATA.subset(CELLS < 7), lambda data: data.n_cells == 7),
    "no rows": (lambda: DATA.subset([]), lambda data: data.n_cells == 0),
    "a donor that is missing": (
        lambda: replace(DATA, donors=[None, NAN, "NA", "n.d.", *["m"] * 56]),
        lambda data: (data.donors[:4] == "unknown").all() and "1 donors, unknown for 4 cells" in repr(data),
    ),
    "whole numbers of NumPy": (lambda: fit(n_selected=np.int64(5), random_state=np.int32(1)), lambda model: model.selected_.sum() == 5),
    "weights of zero for some": (
        lambda: LINEAR.score(X, Y, sample_weight=(CELLS < 30).astype(int)),
        lambda score: score == pytest.approx(LINEAR.score(X[:30], Y[:30])),
    ),
    "missing Y in a score": (
        lambda: r2(np.where(CELLS[:, None] < 10, NAN, Y), LINEAR.predict(X), LINEAR.y_mean_),
        lambda score: score == pytest.approx(r2(Y[10:], LINEAR.predict(X[10:]), LINEAR.y_mean_)),
    ),
    "a single feature on one axis": (
        lambda: validate({"one axis": OneAxis(), "ridge": Ridge()}, replace(DATA, Y=Y[:, :1], features=None, feature_names=["a"], feature_units=None)),
        lambda result: np.ptp(result.scores.groupby("fold")["r2_test"].std().to_numpy()) == pytest.approx(0, abs=1e-9)
        and result.predictions["a"].notna().all(),
    ),
    "a score that does not exist": (lambda: feature_r2(Y * 0, Y, Y.mean(0) * 0), lambda scores: np.isnan(scores).all()),
}  # fmt: skip


@pytest.mark.parametrize("what", FINE)
def test_it_is_right_without_a_word(what):
    call, is_right = FINE[what]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_right(call())


def test_there_are_at_least_150_cases():
    assert len(list(cases())) + len(FILES) + len(NOTED) + len(FINE) >= 150
