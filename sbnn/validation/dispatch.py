"""Chooses where the jobs of a cross-validation run, and in chunks of which size; shows a progress bar."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from sbnn.models.latent_regressor import is_network
from sbnn.models.tasks import STACK_SIZE
from sbnn.validation.execution import (
    Fit,
    Job,
    Plan,
    chunk_shape,
    count_epochs,
    count_trained,
    cut_into_chunks,
    fitting_stack,
    run_chunk,
)
from sbnn.validation.workers import is_local, n_threads_for, run_elsewhere, run_in_threads, runs_here


def run_jobs(
    plan: Plan, jobs: Sequence[Job], stack_size: int | None, n_jobs: int | None, progress: bool
) -> Iterator[list[Fit]]:
    """Fit jobs, networks first; yield the fits of each chunk as it finishes.

    Parameters
    ----------
    plan : Plan
    jobs : list of Job
    stack_size, n_jobs, progress
        See `sbnn.cross_validate`.

    Yields
    ------
    list of Fit
    """
    networks = [job for job in jobs if is_network(plan.estimator(job))]
    others = [job for job in jobs if not is_network(plan.estimator(job))]
    chunks = cut_into_chunks(plan, others)
    runs = (
        _run_networks(plan, networks, stack_size, n_jobs, progress),
        _run_others(plan, chunks, n_jobs, progress),
    )
    for run in runs:
        with closing(run):  # an interruption while a chunk is saved stops the other processes, too
            for fits in run:
                for fit in fits:  # processes return copies of the estimators
                    fit.estimator = plan.estimator(fit.job)
                yield fits


def _run_networks(plan, jobs, stack_size, n_jobs, progress):
    """Train networks where this is fastest, unless the caller decides, with a bar over networks and epochs."""
    if not jobs:
        return
    place, sizes = _place_of_networks(plan, jobs, stack_size, n_jobs)
    chunks = cut_into_chunks(plan, jobs, sizes)
    n_epochs = [count_epochs(plan, chunk) for chunk in chunks]
    with tqdm(total=sum(n_epochs), desc="networks x epochs", disable=hide_bar(progress)) as bar:

        def show(chunk, stage, r2):
            bar.update(count_trained(plan, chunks[chunk]))
            bar.set_postfix_str(stage if r2 is None else f"{stage}, R2 {np.mean(r2):.3f}", refresh=False)

        if place == "here":
            for number, chunk in enumerate(chunks):
                yield run_chunk(plan, chunk, partial(show, number))
        elif place == "threads":
            # The first of each shape alone: its functions are compiled once, and in the same order in every process,
            # without which TensorFlow does not find them in its cache.
            first = {chunk_shape(plan, chunk): number for number, chunk in reversed(list(enumerate(chunks)))}
            for number in sorted(first.values()):
                yield run_chunk(plan, chunks[number], partial(show, number))
            others = [number for number in range(len(chunks)) if number not in first.values()]
            arguments = [(plan, chunks[number]) for number in others]

            def show_other(place, stage, r2):
                show(others[place], stage, r2)

            n_threads = n_threads_for(n_jobs, len(others))
            with closing(run_in_threads(run_chunk, arguments, n_threads, show_other)) as done:
                for _, fits in done:
                    yield fits
        else:
            parts = ((plan.part(chunk), chunk) for chunk in chunks)
            with closing(run_elsewhere(run_chunk, parts, n_jobs, networks=True)) as done:
                for number, fits in done:
                    bar.update(n_epochs[number])
                    last = fits[-1].tables["scores"].iloc[-1]
                    r2 = last["r2_train"] if np.isnan(last["r2_test"]) else last["r2_test"]
                    bar.set_postfix_str(f"{fits[-1].name}, R2 {r2:.3f}")
                    yield fits


def _place_of_networks(plan, jobs, stack_size, n_jobs):
    """Return where networks are trained ("here", "threads" or "elsewhere"), and their number in a stack."""
    from sbnn.models.devices import accelerator_memory

    memory = accelerator_memory() if is_local() else None
    if memory is not None:  # no need to share an accelerator
        place, sizes = "here", lambda estimator: fitting_stack(plan, estimator, memory)
    elif not runs_here(n_jobs):
        place, sizes = "elsewhere", lambda estimator: 1
    elif n_threads_for(n_jobs, len(jobs)) > 1:
        place, sizes = "threads", lambda estimator: 1
    else:
        place, sizes = "here", lambda estimator: STACK_SIZE
    return place, sizes if stack_size is None else lambda estimator: stack_size


def _run_others(plan, chunks, n_jobs, progress):
    """Fit all other models, here or elsewhere."""
    if not chunks:
        return
    parts = ((plan.part(chunk), chunk) for chunk in chunks)
    settings = {"total": len(chunks), "desc": "linear models x folds", "disable": hide_bar(progress)}
    with closing(run_elsewhere(run_chunk, parts, n_jobs)) as done:
        for _, fits in tqdm(done, **settings):
            yield fits


def hide_bar(progress: bool) -> bool:
    """Whether to hide the progress bar; tqdm's notebook bar ignores TQDM_DISABLE."""
    return not progress or bool(os.environ.get("TQDM_DISABLE"))
