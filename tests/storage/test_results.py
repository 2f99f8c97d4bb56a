import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sbnn import ReducedRankRegressor, cross_validate, load_results, save_results
from sbnn.storage.plain_pickle import load_plain


@pytest.fixture
def tables():
    return {
        "scores": pd.DataFrame({
            "model": ["a", "b"], "n": [1, 2], "r2": [0.5, np.nan], "relaxed": [True, None], "name": ["x", None],
        }),
        "curves": pd.DataFrame({
            "model": np.repeat(["a", "b"], 2000), "epoch": np.tile(np.arange(2000), 2),
            "r2": np.linspace(0, 1, 4000, dtype="f4"),
        }),
    }  # fmt: skip


def test_what_is_saved_is_loaded(tables, tmp_path):
    path = save_results(tmp_path / "deep/down/result.pickle", tables, dataset="d", chosen={"a": 0.4})
    loaded = load_results(path)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(
            loaded[name].astype(object).where(loaded[name].notna(), None),
            table.astype(object).where(table.notna(), None),
        )
    assert loaded["curves"]["r2"].dtype == np.float32
    assert loaded["dataset"] == "d" and loaded["chosen"] == {"a": 0.4}
    assert loaded["schema_version"] == 1 and "numpy" in loaded["versions"]


def test_a_cross_validation_explains_itself(small, tmp_path):
    data, _ = small
    cv = cross_validate(data, {"sRRR-2": ReducedRankRegressor(alpha=0.2)}, progress=False)
    loaded = load_results(save_results(tmp_path / "cv.pickle", cv, tables=["scores"]))
    assert loaded["dataset"] == "simulated" and loaded["fingerprint"] == data.fingerprint
    assert loaded["protocol"] == "all cells" and len(loaded["folds"]) == 10
    np.testing.assert_array_equal(loaded["folds"][3]["test"], cv.folds[3].test)
    assert "predictions" not in loaded
    pd.testing.assert_frame_equal(loaded["scores"], cv.scores, check_dtype=False)
    with pytest.raises(ValueError, match=r"tables names \['weights'\]"):
        save_results(tmp_path / "cv.pickle", cv, tables=["weights"])


def test_repeated_names_take_little_room(tables, tmp_path):
    path = save_results(tmp_path / "result.pickle", tables)
    assert path.stat().st_size < 80_000


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_malicious_pickle_is_refused_before_it_runs(tmp_path):
    path, mark = tmp_path / "bad.pickle", tmp_path / "was-run"
    path.write_bytes(pickle.dumps({"format": "sbnn results", "tables": Malicious(mark)}))
    with pytest.raises(ValueError, match=r"refused: it names (posix|nt)\.system"):
        load_results(path)
    assert not mark.exists()


@pytest.mark.parametrize("value", [pd.DataFrame({"a": [1]}), np.array([pd.Timestamp(0)], dtype=object), len])
def test_foreign_objects_are_refused(tmp_path, value):
    path = tmp_path / "foreign.pickle"
    path.write_bytes(pickle.dumps({"format": "sbnn results", "value": value}))
    with pytest.raises(ValueError, match="refused: it (names|holds values of type .O8)"):
        load_results(path)


def test_a_truncated_file_is_named(tables, tmp_path):
    path = save_results(tmp_path / "result.pickle", tables)
    size = path.stat().st_size
    for length in (0, 10, size // 2, size - 74, size - 10, size - 1):
        cut = tmp_path / f"{length}.pickle"
        cut.write_bytes(path.read_bytes()[:length])
        message = "refused: it was changed since it" if length > size - 73 else "is truncated or not a pickle"
        with pytest.raises(ValueError, match=f"{length}.pickle {message}"):
            load_results(cut)


def test_a_changed_file_is_named(tables, tmp_path):
    path = save_results(tmp_path / "result.pickle", tables)
    content, value = path.read_bytes(), np.float64(0.5).tobytes()
    assert value in content
    path.write_bytes(content.replace(value, np.float64(0.6).tobytes()))
    with pytest.raises(ValueError, match="result.pickle refused: it was changed since it was written, or is damaged"):
        load_results(path)


def test_pickle_reads_a_file_with_a_checksum_and_files_without_one_are_read(tables, tmp_path):
    path = save_results(tmp_path / "result.pickle", tables, dataset="d")
    content = path.read_bytes()
    assert content[-73:-65] == b"\nsha256 " and content[-65:-1].decode() == hashlib.sha256(content[:-73]).hexdigest()
    assert pickle.loads(content)["dataset"] == load_plain(content)["dataset"] == "d"
    path.write_bytes(content[:-73])
    assert load_results(path)["dataset"] == "d"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["folds"], "'folds' is a name that the file needs itself"),
        (["dataset"], "'dataset' is a name that the file needs itself"),
        (["versions"], "'versions' is a name that the file needs itself"),
        ([3], "tables must be a dict by names that are text"),
        ([None, "a"], "tables must be a dict by names that are text"),
        (range(2000), "tables must be a dict by names that are text"),
        ([f"t{number}" for number in range(1001)], "it has 1001 tables, more than 1000"),
    ],
)
def test_tables_that_could_not_be_loaded_are_not_saved(names, message, tmp_path):
    table = pd.DataFrame({"a": [1]})
    with pytest.raises(ValueError, match=message):
        save_results(tmp_path / "r.pickle", dict.fromkeys(names, table))
    with pytest.raises(ValueError, match=message):
        save_results(tmp_path / "r.pickle", {}, extra=dict.fromkeys(names, table))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", [pd.DataFrame({"a": np.array([b"x"] * 3)}), pd.DataFrame(np.zeros((1, 50_001)))])
def test_a_table_that_could_not_be_loaded_is_not_saved(table, tmp_path):
    with pytest.raises(ValueError, match="table 't' cannot be read: (column 'a' should|a table has 50001 columns)"):
        save_results(tmp_path / "r.pickle", {"t": table.rename(columns=str)})
    assert not list(tmp_path.iterdir())


def test_of_a_link_the_target_is_written(tables, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere/result.pickle", tmp_path / "link.pickle"
    link.symlink_to(target)
    for dataset in ("first", "second"):
        save_results(link, tables, dataset=dataset)
        assert link.is_symlink() and load_results(target)["dataset"] == dataset
    assert [file.name for file in target.parent.iterdir()] == ["result.pickle"]


def test_something_else_is_named(tmp_path):
    path = tmp_path / "other.pickle"
    path.write_bytes(pickle.dumps([np.zeros(3)]))
    with pytest.raises(ValueError, match="is a pickle, but not a result of sbnn"):
        load_results(path)
    path.write_text("not a pickle")
    with pytest.raises(ValueError, match="not a pickle"):
        load_results(path)
    path.write_bytes(pickle.dumps({"format": "sbnn results", "schema_version": 99}))
    with pytest.raises(ValueError, match="has schema version 99, this sbnn reads 1"):
        load_results(path)
    with pytest.raises(FileNotFoundError, match="is missing: run `make train`"):
        load_results(tmp_path / "none.pickle")


def test_an_interrupted_write_leaves_the_old_result(tables, tmp_path, monkeypatch):
    path = save_results(tmp_path / "result.pickle", tables, dataset="old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_results(path, tables, dataset="new")
    assert load_results(path)["dataset"] == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["result.pickle"]


def test_what_could_not_be_loaded_is_not_saved(tables, tmp_path):
    with pytest.raises(ValueError, match="plain values and arrays only: it names"):
        save_results(tmp_path / "result.pickle", tables, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"t": {"a": {"values": np.array([b"x" * 500_000]), "codes": np.zeros(20_000, "u1")}}}, "an array of one axis"),
        ({"t": {"a": {"values": np.arange(3), "codes": np.array([5])}}}, "has codes from 5 to 5 for 3 values"),
        ({"t": {"a": np.zeros((2, 2))}}, "should be an array of one axis or a list of single values"),
        ({"t": {"a": [[1], [2]]}}, "should be an array of one axis or a list of single values"),
        ({"t": {"a": np.zeros(2), "b": np.zeros(3)}}, r"should have one length, got \[2, 3\]"),
        ({"t": [1, 2]}, "should be a dict of named columns, got list"),
        ({"dataset": {"a": np.zeros(2)}}, "or one with the name of a note"),
        ({f"t{number}": {} for number in range(2000)}, "has 2000 tables"),
        ([1], "tables must be a dict by names that are text, got .1."),
    ],
)
def test_tables_that_cannot_be_are_refused(tmp_path, tables, message):
    path = tmp_path / "bad.pickle"
    content = {"format": "sbnn results", "schema_version": 1, "tables": tables}
    path.write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(ValueError, match=f"(?s)bad.pickle.*{message}"):
        load_results(path)


def test_a_named_index_and_mixed_columns_come_back(tmp_path):
    table = pd.DataFrame({"mixed": [True, 1, 1.0, "x"], "r2": [0.1, 0.2, 0.3, 0.4]})
    table.index = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1), ("b", 2)], names=["model", "fold"])
    loaded = load_results(save_results(tmp_path / "r.pickle", {"scores": table}))["scores"]
    assert loaded["model"].tolist() == ["a", "a", "b", "b"] and loaded["fold"].tolist() == [1, 2, 1, 2]
    assert [type(value) for value in loaded["mixed"]] == [bool, int, float, str]
