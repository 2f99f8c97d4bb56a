"""One call of every function that draws a figure, on small tables."""

import importlib
import inspect
import pkgutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold

import sbnn
from sbnn import ClassMean, PairedModel, ReducedRankRegressor, cross_validate, simulate_patchseq
from sbnn.data.variable_genes import find_variable_genes, gene_statistics
from sbnn.figures import curves as curve_figures
from sbnn.figures import maps, plotting
from sbnn.figures.beyond_class import plot_beyond_class
from sbnn.figures.cell_map import HeldOutMap, plot_cell_map
from sbnn.figures.cohort import plot_external_cohort
from sbnn.figures.controls import plot_matched_controls
from sbnn.figures.disagreement import plot_disagreement
from sbnn.figures.gene_number import plot_gene_number
from sbnn.figures.honest_scores import plot_honest_scores
from sbnn.figures.importance import plot_gene_importance
from sbnn.figures.learning_curve import plot_learning_curve
from sbnn.figures.quick_look import plot_one_fold
from sbnn.figures.stability import plot_stability
from sbnn.validation.beyond_class import BeyondClass
from sbnn.validation.class_scores import ALL_CELLS
from sbnn.validation.controls import MatchedControls
from sbnn.validation.gene_number import GeneNumber
from sbnn.validation.importance import GeneImportance
from sbnn.validation.learning_curve import LearningCurve
from sbnn.validation.stability import GeneStability
from sbnn.validation.transfer import ALL_FEATURES

DATA, TRUTH = simulate_patchseq(150, 60, n_features=6, n_informative=8, n_types=4, random_state=1)
REFERENCES = {"sRRR-2": 0.5, "sRRR-full": 0.55, "family mean": 0.56, "type mean": 0.57}


def public_figure_functions():
    """Return the functions of all modules of sbnn whose names begin with plot_."""
    found = {}
    for module in pkgutil.walk_packages(sbnn.__path__, "sbnn."):
        content = vars(importlib.import_module(module.name))
        found |= {name: value for name, value in content.items() if inspect.isfunction(value) and name[:5] == "plot_"}
    return found


def cells():
    """Table of cells as results hold it."""
    colors = [DATA.type_colors[name] for name in DATA.cell_types]
    table = {"cell": DATA.cell_names, "cell_type": DATA.cell_types, "cell_family": DATA.cell_families}
    return pd.DataFrame({**table, "type_color": colors})


def curves():
    """Curves of two penalties, bottlenecks and schedules over three folds."""
    rows = [
        (group_lasso, dim, f"sBNN-{dim}", schedule, fold, ("frozen", "finetuned", "pruned")[(epoch - 1) // 2], epoch)
        for group_lasso in (1e-4, 0.1)
        for dim in (2, 64)
        for schedule in ("paper", "paper_no_pretraining")
        for fold in range(3)
        for epoch in range(1, 7)
    ]
    names = ["group_lasso", "bottleneck_dim", "model", "schedule", "fold", "stage", "epoch"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(r2_test=table["epoch"] / 10 + table["fold"] / 100)


def penalties():
    """Curves of figure 1."""
    return curves().query("bottleneck_dim == 2 and schedule == 'paper'")


def bottlenecks():
    """Curves of figure 2."""
    return curves().query("group_lasso == 0.1")


def figure_tables(shift=0.0):
    """Curves of figures 1 and 2 with their lines."""
    tables = {"penalties": penalties(), "bottlenecks": bottlenecks()}
    tables = {name: table.assign(r2_test=table["r2_test"] + shift) for name, table in tables.items()}
    return {**tables, "references": {name: r2 + shift for name, r2 in REFERENCES.items()}}


def norms():
    """Row norms of two networks."""
    return pd.DataFrame({"group_lasso": np.repeat([1e-4, 0.1], 40), "norm": np.random.default_rng(0).random(80)})


def feature_scores(models=("sBNN-2", "sBNN-64"), n_features=6):
    """R2 of features over two folds."""
    random = np.random.default_rng(0)
    rows = [(m, fold, f"feature {i}", random.random()) for m in models for fold in (0, 1) for i in range(n_features)]
    return pd.DataFrame(rows, columns=["model", "fold", "feature", "r2_test"])


def pooled_scores():
    """R2 of all features together by fold."""
    return pd.DataFrame({"model": ["sBNN-2", "sBNN-64"] * 2, "fold": [0, 0, 1, 1], "r2_test": [0.5, 0.6, 0.52, 0.58]})


def authors():
    """R2 of features of the authors."""
    table = feature_scores(n_features=16).query("fold == 0")
    return table.assign(r2_test_sd=0.05)


def networks():
    """R2 of networks with 25 genes."""
    return pooled_scores().assign(n_selected=25)


def linear_scores():
    """Scores of a linear model over two alphas."""
    return pd.DataFrame({
        "model": "sRRR-2", "alpha": [0.1, 0.2] * 4, "relaxed": [False, False, True, True] * 2,
        "fold": np.repeat([0, 1], 4), "n_selected": [40, 20] * 4, "r2_test": np.linspace(0.2, 0.4, 8),
    })  # fmt: skip


def panel(**more):
    """Map of the simulated cells."""
    genes = pd.DataFrame(DATA.X[:, :9], columns=DATA.gene_names[:9])
    features = pd.DataFrame(DATA.Y, columns=DATA.feature_names)
    return {"title": "map", "coordinates": TRUTH.coordinates, "genes": genes, "features": features} | more


def cell_map(n_features=6, long="", table=None, held_out=False):
    """Arguments of the figure of own cells: some cells not measured, some of unknown type."""
    shown = panel()
    names = [f"feature {number}{long}" for number in range(n_features)]
    measured = pd.DataFrame(np.resize(DATA.Y, (DATA.n_cells, n_features)), columns=names)
    about = {"about": "R²: training fit", "about_genes": "those with the largest weights", "about_features": "all"}
    shown |= about | {"measured": measured.where(measured > -1), "predicted": 0.5 * measured}
    shown |= {"r2": pd.Series(np.linspace(0.6, -0.3, n_features), names), "notes": ["R² of held-out cells: a 0.3."]}
    table = cells() if table is None else table
    turned = HeldOutMap(-TRUTH.coordinates, np.arange(DATA.n_cells) % 5 == 0, table, "held-out cells", "in colour: 30")
    return shown, table, turned if held_out else None


def many_families():
    """Cells of as many families as have no room on a map, and some of unknown type."""
    families = np.array([f"a long family {number % 45}" for number in range(DATA.n_cells)])
    families[:20] = "unknown"
    return cells().assign(cell_family=families)


def seeds():
    """Latent spaces of nine seeds."""
    table = pd.DataFrame(TRUTH.coordinates, columns=["z1", "z2"])
    return pd.concat([table.assign(random_state=seed) for seed in range(9)])


def biplot():
    """Tables of figure 8."""
    both = pd.DataFrame(np.hstack([TRUTH.coordinates, TRUTH.coordinates]), columns=["x1", "x2", "y1", "y2"])
    arrows = pd.DataFrame({"name": DATA.gene_names[:30], "r1": np.linspace(-1, 1, 30), "r2": 0.1})
    return both, arrows, arrows.assign(r2=-0.1)


def cohort():
    """What an external validation says of two models."""
    random = np.random.default_rng(0)
    coordinates = pd.DataFrame({"cell": DATA.cell_names, "z1": TRUTH.coordinates[:, 0], "z2": TRUTH.coordinates[:, 1]})
    models = ("sBNN-2", "sRRR-2")
    training = pd.concat([coordinates.assign(model=name, cell_family=DATA.cell_families) for name in models])
    latents = pd.concat([
        coordinates[:60].assign(model=name, standardise=way) for name in models for way in ("training", "cohort")
    ])  # fmt: skip
    new = pd.DataFrame({"cell": DATA.cell_names[:60], "cell_family": DATA.cell_families[:60]})
    new["family_color"] = new["cell_family"].map(DATA.family_colors)
    rows = []
    for model in (*models, "family mean", "type mean"):
        for scoring in ("training", "centred", "cohort"):
            for feature in [*DATA.feature_names, ALL_FEATURES]:
                r2, correlation = random.uniform(-3, 0.8), random.uniform(0, 0.9)
                rows.append((model, scoring, feature, r2, r2 - 0.1, r2 + 0.1, correlation, correlation - 0.1, 0.95))
    names = ["model", "scoring", "feature", "r2", "r2_low", "r2_high"]
    names += ["correlation", "correlation_low", "correlation_high"]
    return training, latents, new, pd.DataFrame(rows, columns=names), "sBNN-2"


def variable_genes():
    """Arguments of figure 7."""
    chosen = find_variable_genes(DATA.counts, 20)
    return gene_statistics(DATA.counts), chosen.mask, chosen.offset, chosen.decay, {3: "gene03"}, "t"


def distributions():
    """Features before and after z-scoring."""
    tables = [pd.DataFrame(values, columns=DATA.feature_names) for values in (DATA.features, DATA.Y)]
    return *tables, {"feature 1": "mV"}


def one_fold():
    """A cross-validation of one network in one fold, its curves and its map."""
    held_out = np.arange(DATA.n_cells) % 5 == 0
    places = pd.DataFrame(TRUTH.coordinates, columns=["z1", "z2"])
    latents = places.assign(cell=DATA.cell_names, held_out=held_out)
    stages = np.repeat(["frozen", "finetuned", "pruned"], 5)
    curves = pd.DataFrame(
        {
            "stage": stages,
            "epoch": 5 * np.arange(1, 16),
            "r2_train": np.linspace(0, 0.6, 15),
            "r2_test": np.linspace(0, 0.5, 15),
        }
    )
    return SimpleNamespace(curves=curves, latents=latents, models=[{"model": "sBNN"}], folds=[0])


def stability(resample, models=("sBNN-2", "sBNN-64 of a long name", "sRRR-2")):
    """Stability of several models over four runs, the last without a map."""
    random = np.random.default_rng(0)
    index, frequencies, pairs = [], [], []
    for number, model in enumerate(models):
        value = 0.9 - 0.25 * number
        index.append({"model": model, "nogueira": value, "low": value - 0.1, "high": value + 0.05})
        frequencies += [
            (model, f"gene {i}", share) for i, share in enumerate(np.repeat([1, 0.75, 0.5, 0.25], number + 2))
        ]
        if number < 2:
            pairs += [(model, *pair, *random.uniform(0.3, 0.9, 2)) for pair in ((0, 1), (0, 2), (1, 2))]
    return GeneStability(
        resample=resample,
        n_runs=4,
        selected=pd.DataFrame(),
        frequencies=pd.DataFrame(frequencies, columns=["model", "gene", "frequency"]),
        index=pd.DataFrame(index),
        maps=pd.DataFrame(),
        pairs=pd.DataFrame(pairs, columns=["model", "first", "second", "procrustes_r2", "common_neighbours"]),
        correlations=pd.DataFrame(),
    )


def importance(n_genes=8, n_features=5, n_folds=10):
    """Drops in R2 of genes and features, some of them negative; one gene changes nothing."""
    random = np.random.default_rng(0)
    genes = [f"Gene{number}" for number in range(n_genes)]
    features = [f"feature {number}" for number in range(n_features)]
    drops = np.sort(random.normal(0.05, 0.05, (n_genes, n_features)), axis=0)[::-1]
    drops[-1] = 0
    table = pd.DataFrame({"gene": np.repeat(genes, n_features), "feature": features * n_genes})
    table["importance"] = drops.ravel()
    table = table.assign(low=table["importance"] - 0.02, high=table["importance"] + 0.02)
    table = table.assign(p=random.random(len(table)) ** 3, q=random.random(len(table)) ** 3, frequency=0.5)
    total = pd.DataFrame({"gene": genes, "importance": drops.mean(axis=1)})
    total = total.assign(low=total["importance"] - 0.01, high=total["importance"] + 0.01)
    total["frequency"] = np.linspace(1, 1 / n_folds, n_genes)
    scores = pd.DataFrame({"feature": [*features, ALL_FEATURES], "r2_test": np.linspace(-0.1, 0.7, n_features + 1)})
    return GeneImportance(table, total, scores, "sBNN-2", "donor", 40, n_folds, 10, 2000, 0.95)


def gene_number(best=100, n_genes=(5, 10, 15, 20, 25, 30, 40, 60, 100)):
    """What a comparison of numbers of genes finds: 25 are recommended."""
    r2 = [0.5 - 2 / number for number in n_genes]
    summary = {"n_selected": n_genes, "r2_mean": r2, "r2_se": 0.06, "nogueira": np.linspace(0.5, 0.8, len(n_genes))}
    scores = pd.DataFrame(
        [(fold, n, 0.5) for fold in range(10) for n in n_genes], columns=["fold", "n_selected", "r2_test"]
    )
    return GeneNumber(scores, pd.DataFrame(summary), 25, best)


def beyond(n_features=6, n_families=4, classes="cell_families", models=("sBNN-2",)):
    """What maps add to classes: more in the first features and families; the last family is of one animal."""
    random, parts = np.random.default_rng(0), []
    for model in models:
        names = [(ALL_CELLS, ALL_FEATURES), *((ALL_CELLS, f"feature {number}") for number in range(n_features))]
        names += [(f"Family{number}", ALL_FEATURES) for number in range(n_families)]
        table = pd.DataFrame(names, columns=["family", "feature"]).assign(model=model)
        table["r2_class"] = random.uniform(-0.1, 0.7, len(table))
        table["gain"] = random.normal(0.02, 0.04, len(table))
        table.loc[1, "gain"] = 0.08
        table = table.assign(r2_both=table["r2_class"] + table["gain"], low=table["gain"] - 0.03)
        table = table.assign(high=table["gain"] + 0.03, q=np.where(table["gain"] > 0.03, 0.01, 0.4))
        table = table.assign(n_cells=100, n_units=20)
        if n_families:
            table.loc[len(table) - 1, ["low", "high", "q", "n_units"]] = [np.nan, np.nan, np.nan, 1]
        parts.append(table)
    return BeyondClass(pd.concat(parts), pd.DataFrame(), classes, "donor", 40, 900, 0, 0, 30, 2000, 0.95)


def matched(n_features=16, n_sets=100, n_genes=25, n_folds=10, model="sBNN-2"):
    """R2 of selected genes and of matched controls; some features are no better, one is hardly predicted."""
    random = np.random.default_rng(0)
    names = [f"feature {number}" + " of a long name" * (number == 3) for number in range(n_features)]
    own, mean = np.linspace(0.75, -0.05, n_features), np.linspace(0.5, -0.06, n_features)
    sets = mean + 0.03 * random.standard_normal((n_sets, n_features))
    r2 = np.vstack([own, sets])
    table = pd.DataFrame({"r2": own, "control_mean": sets.mean(axis=0), "control_sd": sets.std(axis=0)}, names)
    table["control_low"], table["control_high"] = np.quantile(sets, [0.025, 0.975], axis=0)
    table = table.assign(difference=own - sets.mean(axis=0), percentile=100 * (sets < own).mean(axis=0))
    table["p"] = (1 + (sets >= own).sum(axis=0)) / (1 + n_sets)
    table["q"] = table["p"]
    pooled = table.mean().rename(ALL_FEATURES)
    scores = [(number, fold, row.mean()) for number, row in enumerate(r2) for fold in range(n_folds)]
    mean_log = np.tile(random.uniform(1, 9, n_genes), n_sets)
    pairs = pd.DataFrame(
        {"gene": np.tile([f"gene{number}" for number in range(n_genes)], n_sets), "mean_log": mean_log}
    )
    pairs = pairs.assign(detection=mean_log / 10, control_mean_log=mean_log + 0.3 * random.standard_normal(len(pairs)))
    pairs["control_detection"] = pairs["detection"] + 0.03 * random.standard_normal(len(pairs))
    pairs = pd.concat([pairs] * n_folds)
    summary = pd.concat([pooled.to_frame().T, table])
    scores = pd.DataFrame(scores, columns=["set", "fold", "r2_test"])
    return MatchedControls(model, n_sets, summary, scores, pd.DataFrame(), pairs, pd.DataFrame())


def curve_of_sizes(sizes=(150, 300, 600, 1092), models=None, n_folds=10):
    """R2 of models on more and more cells."""
    models = models or {
        "sBNN-2": (0.41, 60), "sBNN-64": (0.46, 70), "sRRR-2": (0.35, 50), "ridge": (0.45, 60),
        "extra trees": (0.47, 45), "family mean": (0.41, 10), "type mean": (0.48, 30),
    }  # fmt: skip
    rows = [
        (name, n_cells, draw, fold, best - slope / n_cells + 0.02 * np.sin(fold))
        for name, (best, slope) in models.items()
        for n_cells in sizes
        for draw in range(2)
        for fold in range(n_folds)
    ]
    scores = pd.DataFrame(rows, columns=["model", "n_cells", "draw", "fold", "r2_test"])
    return LearningCurve(scores, pd.DataFrame(), tuple(name for name in models if name.endswith("mean")))


def disagreement(n_features=12):
    """A map whose networks disagree."""
    random, shown = np.random.default_rng(0), panel()
    spread = random.gamma(2, 0.1, len(shown["coordinates"]))
    names = [f"feature {number} of a long name" for number in range(n_features)]
    features = pd.DataFrame(random.gamma(2, 0.1, (len(spread), n_features)), columns=names)
    return {"coordinates": shown["coordinates"], "spread": spread, "feature_spread": features}


def own_map(held_out=False):
    """Map of a linear model of the simulated cells, with the scores of two folds."""
    model = ReducedRankRegressor(2, 0.2, relaxed=True)
    models = {"linear": model, "family mean": ClassMean(), "ridge": ReducedRankRegressor(None, 1.0, l1_ratio=0)}
    result = cross_validate(DATA, models, KFold(2), n_jobs=1, progress=False) if held_out else None
    return PairedModel(model).fit(DATA).plot(DATA, result)


def honest_scores(
    models=("family mean", "type mean", "ridge", "sBNN-2, ten networks"),
    endings=("", ", 25 genes", ", the networks' genes"),
    unit="donor",
):
    """R2 with intervals, of models on all genes, their own and shared ones."""
    names = [f"{name}{ending}" for ending in endings for name in models if not ending or "mean" not in name]
    r2 = np.linspace(-0.1, 0.5, len(names))
    table = pd.DataFrame({"model": names, "r2": r2, "low": r2 - 0.02, "high": r2 + 0.03})
    return table.assign(unit=unit, n_units=266)


#: Name of the function -> calls that draw its figure in its different forms.
CASES = {
    "plot_training_curves": [
        lambda: curve_figures.plot_training_curves(penalties(), norms(), REFERENCES),
        lambda: curve_figures.plot_training_curves(penalties(), norms(), REFERENCES, authors=figure_tables(0.3)),
    ],
    "plot_bottleneck_comparison": [
        lambda: curve_figures.plot_bottleneck_comparison(bottlenecks(), REFERENCES),
        lambda: curve_figures.plot_bottleneck_comparison(bottlenecks(), REFERENCES, figure_tables(0.3)),
    ],
    "plot_published_curves": [
        lambda: curve_figures.plot_published_curves(
            {"scala_2020": figure_tables(), "gouwens_2020": figure_tables()}, {"scala_2020": figure_tables(0.01)}
        )
    ],
    "plot_feature_scores": [
        lambda: plotting.plot_feature_scores(feature_scores(), {"sBNN-2": 0.5, "sBNN-64": 0.6}),
        lambda: plotting.plot_feature_scores(
            pd.concat([feature_scores(n_features=16), feature_scores(("family mean", "type mean"), 16)]),
            pooled_scores(),
            authors(),
        ),
    ],
    "plot_gene_frequencies": [
        lambda: plotting.plot_gene_frequencies({"sBNN-2": pd.Series([3, 3, 1]), "sBNN-64": pd.Series([2, 1])})
    ],
    "plot_variable_genes": [lambda: plotting.plot_variable_genes(*variable_genes())],
    "plot_feature_distributions": [lambda: plotting.plot_feature_distributions(*distributions())],
    "plot_linear_path": [
        lambda: plotting.plot_linear_path(linear_scores()),
        lambda: plotting.plot_linear_path(linear_scores(), {"sRRR-2": 0.2}, networks()),
    ],
    "plot_latent_space": [
        lambda: maps.plot_latent_space([panel()], cells()),
        lambda: maps.plot_latent_space([panel(), panel(gene_limit=1)], cells()),
    ],
    "plot_cell_map": [
        lambda: plot_cell_map(*cell_map(1)),
        lambda: plot_cell_map(*cell_map(4, ", of a name that is much too long for one line", many_families(), True)),
        lambda: plot_cell_map(*cell_map(9, held_out=True)),
    ],
    "plot_seeds": [lambda: maps.plot_seeds(seeds(), cells(), {"sBNN-2": pd.Series([9, 2, 1])})],
    "plot_embeddings": [lambda: maps.plot_embeddings({"a": TRUTH.coordinates, "b": TRUTH.coordinates}, cells())],
    "plot_type_legend": [lambda: maps.plot_type_legend(cells())],
    "plot_double_biplot": [lambda: maps.plot_double_biplot(*biplot(), cells())],
    "plot_overview": [lambda: maps.plot_overview(panel(n_genes=8), cells())],
    "plot_disagreement": [
        lambda: plot_disagreement(disagreement(), cells()),
        lambda: plot_disagreement(disagreement(2), cells()),
    ],
    "plot_beyond_class": [
        lambda: plot_beyond_class(beyond()),
        lambda: plot_beyond_class(beyond(2, 0, "cell_types")),
        lambda: plot_beyond_class(beyond(40, 9, models=("sRRR-2", "sBNN-2")), "sBNN-2"),
    ],
    "plot_external_cohort": [lambda: plot_external_cohort(*cohort())],
    "plot_gene_importance": [
        lambda: plot_gene_importance(importance()),
        lambda: plot_gene_importance(importance(1, 1, 1)),
        lambda: plot_gene_importance(importance(40, 70)),
    ],
    "plot_matched_controls": [
        lambda: plot_matched_controls(matched(2, 1, 3, 1, "a model of a very long name")),
        lambda: plot_matched_controls(matched(55, 20)),
        lambda: plot_matched_controls(matched()),
    ],
    "plot_learning_curve": [
        lambda: plot_learning_curve(curve_of_sizes((100,), {"mine": (0.3, 5)}, 1)),
        lambda: plot_learning_curve(curve_of_sizes((150, 155, 160, 1092)), 0.0),
        lambda: plot_learning_curve(curve_of_sizes()),
    ],
    "plot_honest_scores": [
        lambda: plot_honest_scores(honest_scores(("ridge",), ("",), "cell")),
        lambda: plot_honest_scores(honest_scores(tuple(f"a model of a long name, {i}" for i in range(22)))),
        lambda: plot_honest_scores(honest_scores()),
    ],
    "PairedModel.plot": [own_map, lambda: own_map(True)],
    "plot_stability": [
        lambda: plot_stability(stability("donor")),
        lambda: plot_stability([stability("seed", ("sBNN-2",)), stability("donor")]),
    ],
    "plot_gene_number": [
        lambda: plot_gene_number(gene_number()),
        lambda: plot_gene_number(gene_number(25, (22, 25))),
        lambda: plot_gene_number(gene_number(25, (25,))),
    ],
    "plot_one_fold": [lambda: plot_one_fold(one_fold(), cells())],
}
