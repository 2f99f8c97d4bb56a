"""Tables of record of the benchmarks: what a run adds, what it leaves, and what an interruption cannot take."""

import importlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pandas as pd
import pytest

from sbnn import ReducedRankRegressor, simulate_patchseq
from sbnn.validation.folds import make_folds

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
ORDERS = {"cohort": ["first", "second"], "model": {"b": 1, "a": 2}}


@pytest.fixture
def benchmark(monkeypatch):
    """Import a script of benchmarks/, under a name of its own: there is a package called coverage."""
    monkeypatch.syspath_prepend(BENCHMARKS)

    def load(name):
        spec = spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
        script = module_from_spec(spec)
        spec.loader.exec_module(script)
        return script

    return load


@pytest.fixture
def write(benchmark):
    return importlib.import_module("earlier_rows").write_with_earlier_rows


def rows(*keys, value=0.1):
    cohorts, models = zip(*keys, strict=True)
    return pd.DataFrame({"cohort": cohorts, "model": models, "name": ["NA", "x"], "value": [value, None]})


def test_new_rows_replace_those_of_their_keys_and_others_stay(write, tmp_path):
    path = tmp_path / "new" / "table.csv"
    write(rows(("second", "a"), ("second", "a")), path, ORDERS)
    write(rows(("first", "a"), ("first", "a"), value=0.2), path, ORDERS)
    found = write(rows(("second", "b"), ("first", "a"), value=1 / 3), path, ORDERS)
    assert path.read_text().splitlines() == [
        "cohort,model,name,value",
        "first,a,x,",
        "second,b,NA,0.3333333333333333",
        "second,a,NA,0.1",
        "second,a,x,",
    ]
    pd.testing.assert_frame_equal(found, pd.read_csv(path, keep_default_na=False, na_values=[""]))


def test_rows_of_a_model_that_is_no_longer_measured_are_dropped(write, tmp_path):
    path = tmp_path / "table.csv"
    write(rows(("first", "old"), ("first", "b")), path, ORDERS | {"model": ["old", "b"]})
    assert write(rows(("second", "a"), ("second", "a")), path, ORDERS)["model"].tolist() == ["b", "a", "a"]
    with pytest.raises(ValueError, match="rows has model 'old', which is not one of b, a"):
        write(rows(("first", "old"), ("first", "b")), path, ORDERS)


def test_an_interruption_leaves_the_table_as_it_was(write, tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    write(rows(("second", "a"), ("second", "a")), path, ORDERS)
    before = path.read_bytes()

    def interrupted(table, target, **_):
        Path(target).write_text("cohort,mod")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(rows(("first", "a"), ("first", "b")), path, ORDERS)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "table"), [("coverage", "coverage.csv"), ("wide_pool", "wide_pool.csv")])
def test_committed_tables_written_again_are_the_same(benchmark, write, tmp_path, name, table):
    committed = BENCHMARKS / table
    path = tmp_path / table
    path.write_bytes(committed.read_bytes())
    earlier = pd.read_csv(committed, keep_default_na=False, na_values=[""])
    script = benchmark(name)
    assert script.write_with_earlier_rows is write
    write(earlier[earlier["model"] == "sRRR-2"], path, script.ORDERS)
    assert path.read_bytes() == committed.read_bytes()


@pytest.mark.parametrize("name", ["controls", "learning_curve"])
def test_every_table_that_several_runs_fill_is_written_so(benchmark, write, name):
    assert benchmark(name).write_with_earlier_rows is write


def test_coverage_of_a_store_follows_the_code_of_intervals(benchmark, monkeypatch, tmp_path):
    """A store keeps fits, whose addresses have the code and the data; a table of other code would stay."""
    script = benchmark("coverage")
    data, _ = simulate_patchseq(n_cells=160, n_genes=20, n_features=3, n_informative=5, n_types=3)
    arguments = ReducedRankRegressor(None, 1.0, l1_ratio=0), data, tmp_path
    monkeypatch.setattr(script, "make_folds", lambda *given: make_folds(*given)[:2])
    first = script.held_out_donors(*arguments)
    pd.testing.assert_frame_equal(script.held_out_donors(*arguments), first)
    monkeypatch.setattr(script, "coverage_table", lambda *_, **__: first.assign(coverage=0.5))
    assert script.held_out_donors(*arguments)["coverage"].round(6).eq(0.5).all()
