"""No work is lost: a cross-validation that is stopped or killed goes on where it was."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import LINEAR_MODELS
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sbnn import SparseBottleneckRegressor, chunks, cross_validate, simulate_patchseq, store, validation
from sbnn.schedules import SCHEDULES, Stage
from sbnn.store import open_store

MODELS = {
    "sBNN-2": [
        SparseBottleneckRegressor(
            group_lasso=penalty, hidden=(16, 8), n_selected=10, schedule=SCHEDULES["paper"].shortened(0.02)
        )
        for penalty in (0.01, 0.1, 0.3)
    ],
    **LINEAR_MODELS,
}


def validate(data, folder=None, models=MODELS, **settings):
    return cross_validate(data, models, folds=KFold(3), store=folder, progress=False, **settings)


@pytest.fixture(scope="module")
def uninterrupted(small):
    return validate(small[0])


def assert_same(found, expected):
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(found.tables[name], table, check_dtype=False, obj=name)


def chunk_files(folder):
    return sorted(path.name for path in Path(folder).glob("chunk-*.pickle"))


def stop_after(monkeypatch, number, error=KeyboardInterrupt):
    """Let a number of chunks finish, then fail."""
    started = []

    def run(work, chunk, *arguments):
        started.append(chunk)
        if len(started) > number:
            raise error
        return chunks.run_chunk(work, chunk, *arguments)

    monkeypatch.setattr(validation, "run_chunk", run)


def test_a_store_changes_nothing(small, uninterrupted, tmp_path):
    assert_same(validate(small[0], tmp_path / "new" / "store"), uninterrupted)
    # 9 networks in stacks of 5, and for each of 3 folds a path, a ridge and a mean
    assert len(chunk_files(tmp_path / "new/store")) == 2 + 3 * 3


@pytest.mark.parametrize("finished", [0, 1, 2, 7])
def test_after_ctrl_c_the_same_call_goes_on(small, uninterrupted, tmp_path, monkeypatch, finished):
    stop_after(monkeypatch, finished)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        validate(small[0], tmp_path)
    assert "the same call goes on from there" in interrupt.value.__notes__[0]
    monkeypatch.undo()
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in chunk_files(tmp_path)}
    assert len(before) == finished
    assert_same(validate(small[0], tmp_path), uninterrupted)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before


def test_models_come_back_as_they_were(small, uninterrupted, tmp_path):
    data, _ = small
    validate(data, tmp_path)
    restored = validate(data, tmp_path)
    for model, original in zip(restored.estimators, uninterrupted.estimators, strict=True):
        if isinstance(original, DummyRegressor):
            assert model is None
            continue
        np.testing.assert_allclose(model.predict(data.X), original.predict(data.X), atol=1e-6)
        np.testing.assert_array_equal(model.selected_, original.selected_)
        np.testing.assert_allclose(model.gene_norms_, original.gene_norms_, rtol=1e-6)
    genes = [
        network.decode_genes(network.transform(data.X))
        for network in (restored.estimators[0], uninterrupted.estimators[0])
    ]
    np.testing.assert_allclose(*genes, atol=1e-5)


def test_the_planned_chunks_are_kept(small, uninterrupted, tmp_path, monkeypatch):
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        validate(small[0], tmp_path)
    monkeypatch.undo()
    assert_same(validate(small[0], tmp_path, stack_size=2), uninterrupted)
    assert len(chunk_files(tmp_path)) == 2 + 3 * 3


def test_processes_fill_the_same_store(small, uninterrupted, tmp_path):
    assert_same(validate(small[0], tmp_path, LINEAR_MODELS, n_jobs=2), validate(small[0], models=LINEAR_MODELS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"within_fold": True}, "with other counts or features, protocol"),
        ({"keep": ["latents"]}, "with other tables to keep"),
        ({"models": {**LINEAR_MODELS, "mean": DummyRegressor(strategy="median")}}, "with other models"),
    ],
)
def test_another_cross_validation_is_refused(small, tmp_path, change, message):
    validate(small[0], tmp_path, LINEAR_MODELS)
    settings = {"models": LINEAR_MODELS, **change}
    with pytest.raises(ValueError, match=f"belongs to another cross-validation, {message}: choose another store"):
        validate(small[0], tmp_path, **settings)
    other = simulate_patchseq(n_cells=150, n_genes=60, n_features=6, n_informative=8, n_types=4, random_state=2)[0]
    with pytest.raises(ValueError, match="with other data: "):
        validate(other, tmp_path, LINEAR_MODELS)


def test_a_folder_of_something_else_is_refused(small, tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ValueError, match=r"is no store but holds \['thesis.tex'\]"):
        validate(small[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.tex"]


def test_a_damaged_chunk_is_named(small, tmp_path):
    linear = {"mean": DummyRegressor()}
    validate(small[0], tmp_path, linear)
    path = tmp_path / "chunk-00001.pickle"
    path.write_bytes(path.read_bytes()[:50])
    message = r"chunk-00001.pickle is truncated or not a pickle .*: delete chunk-00001.pickle, and the same call"
    with pytest.raises(ValueError, match=message):
        validate(small[0], tmp_path, linear)
    path.unlink()
    assert_same(validate(small[0], tmp_path, linear), validate(small[0], models=linear))


def rewritten(path, **change):
    """Write a plan or a chunk again with another content, sealed as it should be."""
    content = store._unseal(path, path.stem.split("-")[0])
    store._seal(path, path.stem.split("-")[0], content | change)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: rewritten(folder / "chunk-00000.pickle", fits=[]), "does not hold the fits that belong there"),
        (
            lambda folder: (folder / "chunk-00000.pickle").write_bytes((folder / "chunk-00002.pickle").read_bytes()),
            "chunk-00000.pickle belongs to another cross-validation, or to another place in this one: delete",
        ),
        (
            lambda folder: rewritten(folder / "chunk-00001.pickle", of="other data"),
            "chunk-00001.pickle belongs to another cross-validation",
        ),
        (
            lambda folder: (folder / "chunk-00000.pickle").write_bytes((folder / "plan.pickle").read_bytes()),
            "chunk-00000.pickle is no chunk of this version of sbnn: delete",
        ),
        (
            lambda folder: (folder / "plan.pickle").write_bytes((folder / "chunk-00000.pickle").read_bytes()),
            "plan.pickle is no plan of this version of sbnn: choose another store, or delete",
        ),
        (
            lambda folder: rewritten(folder / "plan.pickle", chunks=[[[0, 0]], [[0, 1]], [[0, 2]], [[0, 2]]]),
            "plan.pickle does not have every model and fold once",
        ),
        (
            lambda folder: rewritten(folder / "plan.pickle", chunks=[[[0, 0]], [[0, 1]]]),
            "plan.pickle does not have every model and fold once",
        ),
        (lambda folder: (folder / "plan.pickle").write_bytes(b""), "plan.pickle is truncated or not a pickle"),
    ],
)
def test_what_does_not_belong_in_its_place_is_named(small, tmp_path, harm, message):
    linear = {"mean": DummyRegressor()}
    validate(small[0], tmp_path, linear)
    harm(tmp_path)
    with pytest.raises(ValueError, match=message):
        validate(small[0], tmp_path, linear)


def test_changed_counts_belong_to_another_cross_validation_within_folds(small, tmp_path):
    """X and Y are the same, but within folds they are made anew of counts and features."""
    data, linear = small[0], {"ridge": Ridge()}
    validate(data, tmp_path, linear, within_fold=True)
    changed = replace(data, features=data.features[::-1].copy())
    with pytest.raises(ValueError, match="with other counts or features: choose another store"):
        validate(changed, tmp_path, linear, within_fold=True)


def test_settings_deep_inside_a_model_tell_it_from_others(small, tmp_path):
    def model(alpha):
        long = [FunctionTransformer(inv_kw_args={"n": "v" * 300}) for _ in range(4)]
        return {"a": TransformedTargetRegressor(make_pipeline(*long, Ridge(alpha)))}

    validate(small[0], tmp_path, model(1.0))
    validate(small[0], tmp_path, model(1.0))
    with pytest.raises(ValueError, match="with other models: choose another store"):
        validate(small[0], tmp_path, model(1000.0))


def test_a_number_changed_on_disk_is_noticed(small, tmp_path):
    """One bit of a value, which is as good a number as before."""
    linear = {"mean": DummyRegressor()}
    expected = validate(small[0], tmp_path, linear)
    path = tmp_path / "chunk-00000.pickle"
    content = path.read_bytes()
    value = expected.scores["r2_test"].to_numpy()[0].tobytes()
    assert value in content
    path.write_bytes(content.replace(value, bytes([value[0] ^ 1]) + value[1:]))
    with pytest.raises(ValueError, match=r"chunk-00000.pickle has changed since it was written: delete chunk-00000"):
        validate(small[0], tmp_path, linear)


def test_what_has_no_score_is_warned_of_again(small, tmp_path):
    """By this process, by others, and where it comes from the store."""

    odd = {"odd": [MODELS["sBNN-2"][0], clone(MODELS["sBNN-2"][0]).set_params(schedule=[Stage("finetuned", 2, 1e30)])]}
    for settings in ({}, {}, {"n_jobs": 2}):
        folder = tmp_path / str(len(settings))
        with (
            np.errstate(all="ignore"),
            pytest.warns(UserWarning, match="'odd' in fold 2 diverged") as noted,
        ):
            scores = validate(small[0], folder, odd, **settings).scores
        assert len([warning for warning in noted if "diverged" in str(warning.message)]) == 3
        assert scores.groupby("schedule")["r2_test"].apply(lambda r2: r2.isna().all()).tolist() == [True, False]


SCRIPT = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from sklearn.model_selection import KFold
    from conftest import LINEAR_MODELS
    from sbnn import simulate_patchseq, validation
    run = validation.run_chunk
    def slowly(*arguments):
        time.sleep(0.2)
        return run(*arguments)
    validation.run_chunk = slowly
    data = simulate_patchseq(n_cells=150, n_genes=60, n_features=6, n_informative=8, n_types=4, random_state=1)[0]
    validation.cross_validate(data, LINEAR_MODELS, folds=KFold(3), store={store!r}, progress=False)
"""


def start(store):
    """Run the cross-validation in a process of its own."""
    script = textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent), store=str(store)))
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def wait_for_chunks(process, store, number):
    """Wait until a number of chunks are finished."""
    for _ in range(1200):
        if len(chunk_files(store)) >= number:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    pytest.fail("no chunk was finished within a minute")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
def test_a_killed_run_loses_no_chunk_and_frees_its_lock(small, tmp_path):
    before = {}
    for finished, delay in ((1, 0.0), (3, 0.13), (4, 0.21), (7, 0.07)):
        process = start(tmp_path)
        wait_for_chunks(process, tmp_path, finished)
        if finished == 1:  # a second process is refused while the first one lives
            with pytest.raises(RuntimeError, match="is in use by another process"), open_store(tmp_path, {}, []):
                pass
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert all((tmp_path / name).stat().st_mtime_ns == written for name, written in before.items())
        before = {name: (tmp_path / name).stat().st_mtime_ns for name in chunk_files(tmp_path)}
    (tmp_path / ".chunk-00008.pickle.half").write_text("what a kill in the middle of writing leaves")
    assert_same(validate(small[0], tmp_path, LINEAR_MODELS), validate(small[0], models=LINEAR_MODELS))
    assert all((tmp_path / name).stat().st_mtime_ns == written for name, written in before.items())
    assert not list(tmp_path.glob(".chunk*"))
