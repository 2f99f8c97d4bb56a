"""Print a table of speeds, and write and draw benchmarks/speed: ours, plain Keras, and the limit of the machine.

Parts (all, or those named):
  schedule   seconds per network of the paper's schedule: a whole cross-validation of ours (4 penalties x 10 folds, one
             process per core, start and compilation of the workers included), plain Keras `fit` (stack_against_fit.py,
             its better setting), and the limit: for each stage the larger of floating-point operations / rate of a
             large matrix product and bytes moved by Adam / bandwidth of the caches, measured here on all cores
  fast       seconds of ten folds of the schedule "fast", workers started and Keras imported, compilation included
  scaling    milliseconds per epoch and network against genes, cells and networks in a stack
  linear     the path of 19 alphas, ranks 2 and full, against scikit-learn alpha by alpha, at the same tolerance

Usage: python benchmarks/speed.py [schedule] [fast] [scaling] [linear] [--small] [--draw]
"""

import argparse
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import MultiTaskElasticNet
from stack_against_fit import GROUP_LASSO, load, make_tasks, seconds_an_epoch, time_plain_fit

from sbnn import SparseBottleneckRegressor, cross_validate, simulate_patchseq
from sbnn.figures.style import FULL_WIDTH, axes_at, freeze, panel_title, use_style
from sbnn.models.elastic_net import SOLVER_TOLERANCE
from sbnn.models.network import layer_sizes, network_layers
from sbnn.models.reduced_rank import ALTERNATION_TOLERANCE, MAX_ROUNDS, reduced_rank_path
from sbnn.models.schedules import SCHEDULES, Stage
from sbnn.models.tasks import TrainingTask
from sbnn.models.training import train_stack
from sbnn.storage.results import current_commit, package_versions
from sbnn.validation.folds import make_folds

FIGURE = Path(__file__).with_name("speed")
PENALTIES = (1e-4, 1e-2, 1e-1, 1.0)


def matrix_rate(size=2048):
    """Return floating-point operations per second of a large float32 matrix product."""
    matrix = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def bandwidth(n_weights):
    """Return bytes per second of adding arrays as large as Adam's, one pair per core (two read, one written).

    Weights, gradient and moments of a network of the paper take 10 MB, which stay in the caches: the bandwidth of main
    memory is not a limit.
    """

    def passes(_):
        first, second, third = (np.ones(n_weights, np.float32) for _ in range(3))
        start = time.perf_counter()
        for _ in range(200):
            np.add(first, second, out=third)
        return 200 * 3 * first.nbytes / (time.perf_counter() - start)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return max(sum(threads.map(passes, range(os.cpu_count()))) for _ in range(5))


def limit_seconds(data, schedule, n_train):
    """Return the minimal seconds per network permitted by arithmetic or memory, summed over the stages."""
    rate = matrix_rate()
    layers = network_layers(data.n_features)
    moved = bandwidth(sum(n_in * n_out for n_in, n_out in pairwise(layer_sizes(data.n_genes, layers))))
    total = 0.0
    for stage in schedule:
        sizes = layer_sizes(25 if stage.name == "pruned" else data.n_genes, layers)
        widths = list(pairwise(sizes))[2 if stage.freeze_hidden else 0 :]
        n_weights = sum(n_in * n_out for n_in, n_out in widths)
        n_cells = round(stage.cell_fraction * n_train)
        n_steps = -(-n_cells // stage.batch_size)
        # Forward, and backward for weights and inputs, the latter not for the first layer; then evaluation.
        operations = n_cells * (6 * n_weights - 2 * widths[0][0] * widths[0][1])
        operations += 0 if stage.name == "pretrained" else 2 * data.n_cells * n_weights
        total += stage.epochs * max(operations / rate, n_steps * 7 * 4 * n_weights / moved)
    return total, rate, moved


def networks(schedule, penalties, **settings):
    """Return the networks of a grid of penalties."""
    return {
        "sBNN-2": [
            SparseBottleneckRegressor(group_lasso=penalty, schedule=schedule, **settings) for penalty in penalties
        ]
    }


def time_schedule(data, small):
    """Compare the paper's schedule with plain Keras and with the limit."""
    schedule = SCHEDULES["paper"].shortened(0.02 if small else 1)
    models = networks(schedule, PENALTIES[:1] if small else PENALTIES)
    start = time.perf_counter()
    result = cross_validate(data, models, "paper", n_jobs=-1, keep=[], progress=False)
    seconds = time.perf_counter() - start
    n_networks = len(result.estimators)
    task = make_tasks(data, 1)[0]
    part = SCHEDULES["paper"].shortened(0.08 if small else 0.16)
    plain = {}
    for name, whole_epochs in (("1 step", False), ("1 epoch", True)):
        stages = time_plain_fit(data, task, part, whole_epochs)
        plain[name] = sum(stage.epochs * stages[stage.name] for stage in schedule)
    limit, rate, moved = limit_seconds(data, schedule, len(task.train_cells))
    ours, better = seconds / n_networks, min(plain.values())
    r2 = result.scores.query("stage == 'pruned' and group_lasso == 0.1")["r2_test"].mean()
    rows = [
        ("paper schedule, ours", ours, f"{n_networks} networks in {seconds:.0f} s, R2 at 0.1: {r2:.4f}"),
        *((f"paper schedule, plain fit, {name} per execution", value, "") for name, value in plain.items()),
        ("paper schedule, limit", limit, f"{rate / 1e9:.0f} GFLOP/s, {moved / 1e9:.1f} GB/s"),
        ("ratio plain fit / ours", better / ours, ""),
        ("ratio ours / limit", ours / limit, ""),
    ]
    return rows


def time_fast(data, small):
    """Time ten folds of the schedule "fast" with workers that have nothing compiled."""
    n_folds = 2 if small else 10
    tiny = networks(SCHEDULES["fast"].shortened(0.01), np.linspace(0.05, 0.06, os.cpu_count()), hidden=(8, 4))
    cross_validate(data, tiny, make_folds(data)[:2], n_jobs=-1, keep=[], progress=False)  # starts the workers
    rows = []
    for name in ("compilation included", "again, compiled"):
        start = time.perf_counter()
        models = networks("fast", (0.05,))
        cross_validate(data, models, make_folds(data)[:n_folds], n_jobs=-1, keep=[], progress=False)
        seconds = time.perf_counter() - start
        rows.append((f"fast, {n_folds} folds, {name}", seconds, f"{seconds / n_folds:.2f} s per network"))
    return rows


def time_epochs(X, Y, n_networks):
    """Return milliseconds per epoch and network of fine-tuning, with R2 recorded after every fourth epoch."""
    stamps = []
    tasks = [TrainingTask(np.arange(len(X)), group_lasso=GROUP_LASSO, fold=number) for number in range(n_networks)]
    stage = Stage("finetuned", 12, 1e-4, evaluate_every=4)
    train_stack(X, Y, tasks, [stage], on_epoch=lambda *_: stamps.append(time.perf_counter()))
    return 1e3 * seconds_an_epoch(stage, stamps) / n_networks


def time_scaling(data, small):
    """Vary genes, cells and the size of a stack around 1000 cells, 1000 genes, one network."""
    random = np.random.default_rng(0)
    genes, cells, stacks = (250, 1000, 4000, 16000, 32000), (1000, 5000, 20000, 50000), (1, 2, 5, 10, 20)
    if small:
        genes, cells, stacks = genes[:2], cells[:2], stacks[:2]
    rows = []
    for what, values in (("genes", genes), ("cells", cells), ("networks in a stack", stacks)):
        for value in values:
            n_cells, n_genes = (value if what == name else 1000 for name in ("cells", "genes"))
            X, Y = (random.standard_normal((n_cells, width), dtype=np.float32) for width in (n_genes, 16))
            milliseconds = time_epochs(X, Y, value if what == "networks in a stack" else 1)
            rows.append((f"ms per epoch and network, {value} {what}", milliseconds, ""))
    return rows


def plain_reduced_rank(X, Y, alpha, rank):
    """Return the coefficients of sparse reduced-rank regression by scikit-learn alone, with a cold start each round."""

    def rows(target):
        model = MultiTaskElasticNet(alpha=alpha, l1_ratio=1.0, fit_intercept=False, tol=SOLVER_TOLERANCE)
        return model.fit(X, target).coef_.T

    if rank == Y.shape[1]:
        return rows(Y)
    V = np.linalg.svd(X.T @ Y, full_matrices=False)[2][:rank].T
    residual = np.inf
    for _ in range(MAX_ROUNDS):
        latent = X @ (W := rows(Y @ V))
        left, _, right = np.linalg.svd(Y.T @ latent, full_matrices=False)
        V = left @ right
        before, residual = residual, np.sum((Y - latent @ V.T) ** 2) / np.sum(Y**2)
        if abs(before - residual) < ALTERNATION_TOLERANCE:
            break
    return W @ V.T


def time_linear(data, small):
    """Compare a path of alphas with scikit-learn's fits, alpha by alpha, at the same tolerance."""
    del small
    fold = make_folds(data)[0]
    X, Y = (np.float64(table[fold.train] - table[fold.train].mean(axis=0)) for table in (data.X, data.Y))
    alphas = np.round(np.arange(0.1, 1.91, 0.1), 2)
    rows = []
    for rank in (2, data.n_features):
        start = time.perf_counter()
        path = reduced_rank_path(X, Y, alphas, rank, 1.0)
        ours = time.perf_counter() - start
        start = time.perf_counter()
        alone = [plain_reduced_rank(X, Y, alpha, rank) for alpha in alphas]
        each = time.perf_counter() - start
        difference = max(np.abs(fit.W @ fit.V.T - one).max() for fit, one in zip(path, alone, strict=True))
        note = f"{each:.2f} s by scikit-learn, alpha by alpha; coefficients differ by at most {difference:.1e}"
        rows.append((f"linear path of {len(alphas)} alphas, rank {rank}", ours, note))
        rows.append((f"ratio scikit-learn / path, rank {rank}", each / ours, ""))
    return rows


PARTS = {"schedule": time_schedule, "fast": time_fast, "scaling": time_scaling, "linear": time_linear}


def describe_machine():
    """Return processor, its widest vector instructions, cores and Keras backend as text."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line.split(":")[1].split() for line in lines if line.startswith("flags"))
        name += " with AVX-512" if "avx512f" in flags else " without AVX-512"
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    backend = keras.backend.backend()
    return f"{name}, {os.cpu_count()} cores, {backend} {package_versions().get(backend, '')}".strip()


def draw(table):
    """Draw seconds per network, and how milliseconds increase with the size of the data and of the stack."""
    use_style()
    figure = plt.figure(figsize=(FULL_WIDTH, 3.55), layout="none")
    schedule = table[table["what"].str.startswith("paper schedule")].iloc[::-1]
    axis = axes_at(figure, 2.3, 0.25, 4.6, 0.95)
    names = schedule["what"].str.removeprefix("paper schedule, ")
    bars = axis.barh(names, schedule["value"], color=np.where(names == "ours", "0.3", "0.75"))
    axis.bar_label(bars, fmt="{:.1f}", padding=2)
    axis.set_xlabel("seconds per network of the paper schedule")
    panel_title(figure, 0.06, 0.16, "a")
    for number, what in enumerate(("genes", "cells", "networks in a stack")):
        rows = table[table["what"].str.fullmatch(rf"ms per epoch and network, \d+ {what}")]
        numbers = rows["what"].str.extract(r", (\d+) ")[0].astype(int)
        axis = axes_at(figure, 0.55 + 2.3 * number, 1.85, 1.75, 1.3)
        axis.plot(numbers, rows["value"], "o-", color="0.3", markersize=3.5, linewidth=1.2)
        axis.set(xlabel=what, ylim=(0, 1.08 * rows["value"].max()))
        axis.set_ylabel("ms per epoch and network" if number == 0 else "")
        ticks = numbers.iloc[[0, -2, -1]] if what != "networks in a stack" else numbers
        axis.set_xticks(ticks, [f"{number:,}" for number in ticks])
        panel_title(figure, 0.06 + 2.3 * number + 0.3 * (number > 0), 1.76, "bcd"[number])
    freeze(figure)
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None, "Producer": None})):
        figure.savefig(FIGURE.with_suffix(suffix), dpi=200, metadata=metadata)


def main():
    """Run the parts; print, write and draw the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--small", action="store_true", help="a few seconds, to check that it runs; nothing is written")
    parser.add_argument("--draw", action="store_true", help="only draw benchmarks/speed.csv again")
    arguments = parser.parse_args()
    if arguments.draw:
        draw(pd.read_csv(FIGURE.with_suffix(".csv")))
        return
    data = simulate_patchseq(n_cells=200, n_genes=100)[0] if arguments.small else load()
    rows = []
    for part in arguments.parts or PARTS:
        rows += PARTS[part](data, arguments.small)
    table = pd.DataFrame(rows, columns=["what", "value", "note"])
    print(
        f"{data.name}: {data.n_cells} cells x {data.n_genes} genes, {os.cpu_count()} cores, {keras.backend.backend()}"
    )
    print(table.to_string(index=False, float_format="{:.2f}".format))
    if not arguments.small and not arguments.parts:
        about = {"date": f"{date.today()}", "machine": describe_machine(), "commit": current_commit()}
        table.round(3).assign(**about).to_csv(FIGURE.with_suffix(".csv"), index=False)
        draw(table)


if __name__ == "__main__":
    main()
