"""No work is lost: a cross-validation that is stopped or killed goes on where it was."""

import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import LINEAR_MODELS
from imports import all_modules, imported_modules
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sbnn
from sbnn import SparseBottleneckRegressor, cross_validate, simulate_patchseq
from sbnn.models.schedules import SCHEDULES, Stage
from sbnn.storage import writing
from sbnn.storage.results import dump_plain
from sbnn.validation import dispatch, execution, fit_keys, store, workers
from sbnn.validation.store import open_store

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
    settings = {"n_jobs": 1} | settings
    return cross_validate(data, models, folds=KFold(3), store=folder, progress=False, **settings)


@pytest.fixture(scope="module")
def uninterrupted(small):
    return validate(small[0])


def assert_same(found, expected):
    for name, table in expected.tables.items():
        pd.testing.assert_frame_equal(found.tables[name], table, check_dtype=False, obj=name)


def chunks_of(folder):
    return sorted(path.name for path in Path(folder).glob("chunk-*"))


def fits_of(folder):
    """Files of finished fits, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).glob("chunk-*/*.pickle")}


def stop_after(monkeypatch, number, error=KeyboardInterrupt):
    """Let a number of chunks finish, then fail."""
    started = []

    def run(plan, chunk, *arguments):
        started.append(chunk)
        if len(started) > number:
            raise error
        return execution.run_chunk(plan, chunk, *arguments)

    monkeypatch.setattr(dispatch, "run_chunk", run)


def test_a_store_changes_nothing(small, uninterrupted, tmp_path):
    found = validate(small[0], tmp_path / "new" / "store")
    assert_same(found, uninterrupted)
    # 9 networks in stacks of 5, and for each of 3 folds a path, a ridge and a mean
    assert len(chunks_of(tmp_path / "new/store")) == 2 + 3 * 3
    assert found.n_fitted == len(fits_of(tmp_path / "new/store")) == len(uninterrupted.estimators)
    again = validate(small[0], tmp_path / "new" / "store")
    assert_same(again, uninterrupted)
    assert again.n_fitted == 0


@pytest.mark.parametrize("finished", [0, 1, 2, 7])
def test_after_ctrl_c_the_same_call_goes_on(small, uninterrupted, tmp_path, monkeypatch, finished):
    stop_after(monkeypatch, finished)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        validate(small[0], tmp_path)
    assert "the same call resumes from there" in interrupt.value.__notes__[0]
    monkeypatch.undo()
    before = fits_of(tmp_path)
    assert len(chunks_of(tmp_path)) == finished
    found = validate(small[0], tmp_path)
    assert_same(found, uninterrupted)
    assert found.n_fitted == len(uninterrupted.estimators) - len(before)
    assert before.items() <= fits_of(tmp_path).items()


def test_after_ctrl_c_threads_keep_what_they_finished(small, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "cpu_count", lambda: 2)
    stop_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        validate(small[0], tmp_path, n_jobs=None)
    monkeypatch.setattr(dispatch, "run_chunk", execution.run_chunk)
    n_kept = len(fits_of(tmp_path))
    assert 3 <= n_kept <= 4  # the fourth may be on its way when the fifth is stopped
    found, whole = (validate(small[0], folder, n_jobs=None) for folder in (tmp_path, None))
    assert found.n_fitted == len(whole.estimators) - n_kept
    assert_same(found, whole)


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


def test_processes_fill_the_same_store(small, uninterrupted, tmp_path):
    assert_same(validate(small[0], tmp_path, LINEAR_MODELS, n_jobs=2), validate(small[0], models=LINEAR_MODELS))


def counted(monkeypatch):
    """Count the models that are fitted from here on, by name and fold."""
    fitted = []

    def run(plan, chunk, *arguments):
        fitted.extend((plan.name(job), job.fold) for job in chunk)
        return execution.run_chunk(plan, chunk, *arguments)

    monkeypatch.setattr(dispatch, "run_chunk", run)
    return fitted


def test_another_run_fits_only_what_it_does_not_share(small, tmp_path, monkeypatch):
    """Models A, then A and B under other names and in another order: only B is fitted."""
    networks, linear = MODELS["sBNN-2"], LINEAR_MODELS["sRRR-2"]
    validate(small[0], tmp_path, {"A": networks[:2], "linear": linear})
    fitted = counted(monkeypatch)
    both = {"B": networks[2], "A again": networks[:2], "linear": linear, "mean": DummyRegressor()}
    found = validate(small[0], tmp_path, both)
    assert sorted(fitted) == [(name, fold) for name in ("B", "mean") for fold in range(3)]
    assert found.n_fitted == 6
    monkeypatch.undo()
    assert_same(found, validate(small[0], models=both))


@pytest.mark.parametrize(
    "change",
    [
        {"within_fold": True},
        {"folds": KFold(3, shuffle=True, random_state=0)},
        {"folds": "paper"},
        {"models": {"sBNN-2": clone(MODELS["sBNN-2"][0]).set_params(ridge=1e-3)}},
        {"models": {"sBNN-2": clone(MODELS["sBNN-2"][0]).set_params(schedule=SCHEDULES["paper"].shortened(0.04))}},
        {"data": simulate_patchseq(150, n_genes=60, n_features=6, n_informative=8, n_types=4, random_state=2)[0]},
    ],
)
def test_what_decides_a_fit_is_in_its_address(small, tmp_path, change):
    settings = {"data": small[0], "models": {"sBNN-2": MODELS["sBNN-2"][0]}, "folds": KFold(3), "progress": False}
    cross_validate(store=tmp_path, **settings)
    changed = settings | change
    found = cross_validate(store=tmp_path, **changed)
    assert found.n_fitted == len(found.folds)
    assert_same(found, cross_validate(**changed))


def test_code_that_trains_is_in_the_address_and_comments_are_not(monkeypatch):
    """A figure module, a comment, a docstring or a type hint orphans no run; another sign does."""
    assert not {"figures.maps", "figures.curves", "validation.comparison"} & set(fit_keys.TRAINING_CODE)
    code = fit_keys._code
    assert code("def f(x):\n    return x\n") == code('def f(x):  # why\n    """What."""\n    return x\n')
    assert code("def f(x):\n    y = x\n") == code("def f(x: int) -> None:\n    y = x\n")
    assert code("class A:\n    x: int = 1\n") == code("class A:\n    x: float = 1\n")
    assert code("class A:\n    x: int = 1\n") != code("class A:\n    x: int = 2\n")
    assert code("def f(x):\n    return x\n") != code("def f(x):\n    return -x\n")


def test_every_module_behind_training_is_known_to_change_numbers_or_not():
    package = Path(sbnn.__file__).parent
    behind, found = {"validation.execution", "models.training"}, set()
    while behind:
        module = behind.pop()
        found.add(module)
        behind |= {name.removeprefix("sbnn.") for name in imported_modules(package, module)} - found
    named = {*fit_keys.TRAINING_CODE, *fit_keys.OTHER_CODE}
    assert found - named == set()
    assert not set(fit_keys.TRAINING_CODE) & set(fit_keys.OTHER_CODE)
    assert named <= {name.removeprefix("sbnn.") for name in all_modules(package)}


def test_tables_that_a_fit_lacks_are_filled_from_its_model(small, tmp_path, monkeypatch):
    models = {"sBNN-2": MODELS["sBNN-2"][0], "sRRR-2": LINEAR_MODELS["sRRR-2"], "mean": DummyRegressor()}
    validate(small[0], tmp_path, models, keep=[])
    fitted = counted(monkeypatch)
    found = validate(small[0], tmp_path, models)
    assert [name for name, _ in fitted] == ["mean"] * 3  # models of other packages are not kept
    monkeypatch.undo()
    assert_same(found, validate(small[0], models=models))
    assert validate(small[0], tmp_path, models).n_fitted == 0
    assert len(validate(small[0], tmp_path, models, keep=["latents"]).predictions) == 0


def test_functions_of_a_session_are_told_apart_by_their_code(small, tmp_path):
    """Edited in a notebook under the same name."""

    def model(factor):
        space = {"__name__": "__main__"}
        exec(f"def scaled(X):\n    return X[:, :5] * {factor}", space)
        return {"a": TransformedTargetRegressor(make_pipeline(FunctionTransformer(space["scaled"]), Ridge(1.0)))}

    assert [validate(small[0], tmp_path, model(factor)).n_fitted for factor in (1, 1, 100)] == [3, 0, 3]


def write_modules(folder, base, function, helper=0):
    """Write modules of one's own: an estimator, what it is made of, and a module that its module imports."""
    (folder / "own_helper.py").write_text(f"def helped(X):\n    return X + {helper}\n")
    (folder / "own_base.py").write_text(f"from sklearn.linear_model import Ridge\n\nclass Base(Ridge):\n    {base}\n")
    (folder / "own_model.py").write_text(
        "import own_helper\nfrom own_base import Base\n\nclass Model(Base):\n"
        "    def fit(self, X, y):\n        return super().fit(own_helper.helped(X), y)\n"
    )
    (folder / "own_function.py").write_text(f"def scaled(X):\n    return X * {function}\n")


def test_modules_of_ones_own_are_told_apart_by_their_code(small, tmp_path, monkeypatch):
    """Edited between two sessions: pickled by name, their models look the same."""
    monkeypatch.syspath_prepend(tmp_path)
    n_fitted = []
    for own in (("a = 1", 1), ("a = 1", 1), ("a = 100", 1), ("a = 100", 200), ("a = 100", 200, 3)):
        write_modules(tmp_path, *own)
        for name in ("own_base", "own_model", "own_function", "own_helper"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        function = importlib.import_module("own_function").scaled
        model = make_pipeline(FunctionTransformer(function), importlib.import_module("own_model").Model())
        n_fitted.append(validate(small[0], tmp_path / "store", {"a": model}).n_fitted)
    assert n_fitted == [3, 0, 3, 3, 3]


def test_the_version_of_a_models_package_is_in_its_address(small, tmp_path, monkeypatch):
    n_fitted = []
    for version in ("1.0", "1.0", "2.0"):
        monkeypatch.setattr(fit_keys.metadata, "version", lambda package, version=version: version)
        monkeypatch.setattr(fit_keys, "package_versions", dict)
        n_fitted.append(validate(small[0], tmp_path, {"a": Ridge()}).n_fitted)
    assert n_fitted == [3, 0, 3]


def test_seeds_of_a_generator_are_in_the_address(small, tmp_path):
    """The same call draws the same seeds again, whatever is finished already."""

    def found():
        generator = np.random.RandomState(0)
        networks = [clone(MODELS["sBNN-2"][0]).set_params(group_lasso=penalty) for penalty in (0.1, 0.3)]
        for network in networks:
            network.random_state = generator
        return validate(small[0], tmp_path, {"sBNN-2": networks}, stack_size=2)

    expected = found()
    last = max(tmp_path.glob("chunk-*"), key=lambda path: path.stat().st_mtime_ns)
    shutil.rmtree(last)
    again = found()
    assert expected.n_fitted == 6 and again.n_fitted == 2
    assert_same(again, expected)
    assert found().n_fitted == 0
    other = clone(MODELS["sBNN-2"][0]).set_params(group_lasso=0.1, random_state=np.random.RandomState(1))
    assert validate(small[0], tmp_path, {"sBNN-2": other}).n_fitted == 3


def test_what_cannot_be_hashed_is_fitted_each_time(small, tmp_path):
    lock = threading.Lock()
    models = {"a": make_pipeline(FunctionTransformer(lambda X: X * bool(lock)), Ridge())}
    assert [validate(small[0], tmp_path, models).n_fitted for _ in range(2)] == [3, 3]


def test_models_asked_for_twice_are_fitted_twice(small, tmp_path):
    """Without a seed they differ."""
    network = clone(MODELS["sBNN-2"][0]).set_params(random_state=None)
    scores = validate(small[0], tmp_path, {"a": network, "b": network}).scores.pivot_table("r2_test", "model", "fold")
    assert (scores.loc["a"] != scores.loc["b"]).all() and len(fits_of(tmp_path)) == 6


def test_a_kill_while_the_folder_is_marked_does_no_harm(small, tmp_path):
    (tmp_path / ".0123abcd.sbnn_store.txt").write_text("Finished")
    assert validate(small[0], tmp_path, {"mean": DummyRegressor()}).n_fitted == 3
    assert sorted(path.name[:6] for path in tmp_path.iterdir()) == [".lock", *["chunk-"] * 3, "sbnn_s"]


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
def test_chunks_have_the_modes_of_other_folders(small, tmp_path):
    before = os.umask(0o027)
    try:
        validate(small[0], tmp_path, {"mean": DummyRegressor()})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("chunk-*")} == {0o750}


def test_a_full_disk_is_said_to_lose_nothing(small, tmp_path, monkeypatch):
    written = []

    def write(path, content):
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        writing.write_bytes(path, content)

    monkeypatch.setattr(store, "write_bytes", write)
    with pytest.raises(OSError, match="No space left") as full:
        validate(small[0], tmp_path, {"mean": DummyRegressor()})
    assert f"Finished work is in {tmp_path}: the same call resumes from there." in full.value.__notes__
    monkeypatch.undo()
    assert not list(tmp_path.glob(".chunk-*"))
    assert validate(small[0], tmp_path, {"mean": DummyRegressor()}).n_fitted == 2


def test_a_folder_of_something_else_is_refused(small, tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ValueError, match=r"is not a store but holds \['thesis.tex'\]"):
        validate(small[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="store must be the path of a folder, got ''"):
        validate(small[0], "")


def test_the_store_of_an_older_version_is_refused(small, tmp_path):
    (tmp_path / "plan.pickle").write_bytes(b"")
    with pytest.raises(ValueError, match="was written by an older sbnn: choose another store, or delete it"):
        validate(small[0], tmp_path)


def test_a_damaged_fit_is_named(small, tmp_path):
    linear = {"mean": DummyRegressor()}
    validate(small[0], tmp_path, linear)
    path = min(fits_of(tmp_path))
    path.write_bytes(path.read_bytes()[:50])
    message = rf"{path.name} is truncated or not a pickle .*: delete this file, and the same call"
    with pytest.raises(ValueError, match=message):
        validate(small[0], tmp_path, linear)
    path.unlink()
    found = validate(small[0], tmp_path, linear)
    assert_same(found, validate(small[0], models=linear))
    assert found.n_fitted == 1


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda one, other: store._seal(one, one.stem, {"tables": {}}), "does not hold a fit: delete this file"),
        (
            lambda one, other: one.write_bytes(other.read_bytes()),
            "has changed since it was written, or belongs to another fit: delete this file",
        ),
        (lambda one, other: one.write_bytes(dump_plain({"a": 1})), "is not a fit of this version of sbnn: delete"),
        (lambda one, other: one.write_bytes(b""), "is truncated or not a pickle"),
    ],
)
def test_what_does_not_belong_in_its_place_is_named(small, tmp_path, harm, message):
    linear = {"mean": DummyRegressor()}
    validate(small[0], tmp_path, linear)
    one, other, _ = sorted(fits_of(tmp_path))
    harm(one, other)
    with pytest.raises(ValueError, match=f"{one.name} {message}"):
        validate(small[0], tmp_path, linear)


def test_changed_counts_belong_to_another_cross_validation_within_folds(small, tmp_path):
    """X and Y are the same, but within folds they are made anew of counts and features."""
    data, linear = small[0], {"ridge": Ridge()}
    validate(data, tmp_path, linear, within_fold=True)
    changed = replace(data, features=data.features[::-1].copy())
    assert validate(changed, tmp_path, linear, within_fold=True).n_fitted == 3
    assert validate(data, tmp_path, linear, within_fold=True).n_fitted == 0


def test_settings_deep_inside_a_model_tell_it_from_others(small, tmp_path):
    def model(alpha):
        long = [FunctionTransformer(inv_kw_args={"n": "v" * 300}) for _ in range(4)]
        return {"a": TransformedTargetRegressor(make_pipeline(*long, Ridge(alpha)))}

    assert [validate(small[0], tmp_path, model(alpha)).n_fitted for alpha in (1.0, 1.0, 1000.0)] == [3, 0, 3]


def test_a_number_changed_on_disk_is_noticed(small, tmp_path):
    """One bit of a value, which is as good a number as before."""
    linear = {"mean": DummyRegressor()}
    expected = validate(small[0], tmp_path, linear)
    value = expected.scores["r2_test"].to_numpy()[0].tobytes()
    path = next(path for path in fits_of(tmp_path) if value in path.read_bytes())
    path.write_bytes(path.read_bytes().replace(value, bytes([value[0] ^ 1]) + value[1:]))
    with pytest.raises(ValueError, match=rf"{path.name} has changed since it was written"):
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
    from sbnn import cross_validate, simulate_patchseq
    from sbnn.validation import dispatch
    run = dispatch.run_chunk
    def slowly(*arguments):
        time.sleep(0.2)
        return run(*arguments)
    dispatch.run_chunk = slowly
    data = simulate_patchseq(n_cells=150, n_genes=60, n_features=6, n_informative=8, n_types=4, random_state=1)[0]
    cross_validate(data, LINEAR_MODELS, folds=KFold(3), store={store!r}, progress=False)
"""


def start(store):
    """Run the cross-validation in a process of its own."""
    script = textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parents[1]), store=str(store)))
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def wait_for_chunks(process, store, number):
    """Wait until a number of chunks are finished."""
    for _ in range(1200):
        if len(chunks_of(store)) >= number:
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
            with pytest.raises(RuntimeError, match="is in use by another process"), open_store(tmp_path):
                pass
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before.items() <= fits_of(tmp_path).items()
        before = fits_of(tmp_path)
    half = tmp_path / ".chunk-half"
    half.mkdir()
    (half / "fit.pickle").write_text("what a kill in the middle of writing leaves")
    assert_same(validate(small[0], tmp_path, LINEAR_MODELS), validate(small[0], models=LINEAR_MODELS))
    assert before.items() <= fits_of(tmp_path).items()
    assert not list(tmp_path.glob(".chunk*"))


def test_threads_may_ask_for_the_code_that_trains_at_once():
    expected = fit_keys.training_code_hash()
    fit_keys._training_code_hash.cache_clear()
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: fit_keys.training_code_hash(), range(16))) == {expected}
