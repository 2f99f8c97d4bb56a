"""Model files: what is damaged, made up or of another kind is refused by name, and nothing in a file is executed."""

import io
import json
import os
import struct
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from sbnn import PairedModel, ReducedRankRegressor, SparseBottleneckRegressor, load_model, simulate_patchseq
from sbnn.data.preprocessing import fit_preprocessor
from sbnn.models.schedules import SCHEDULES
from sbnn.own_cells.model_file import _Taker
from sbnn.own_cells.moments_file import pack_moments, same_moments, unpack_moments

ESTIMATORS = {
    "network": SparseBottleneckRegressor(hidden=(16, 8), n_selected=5, schedule=SCHEDULES["fast"].shortened(0.1)),
    "linear": ReducedRankRegressor(2, 0.1),
}


@pytest.fixture(scope="module", params=list(ESTIMATORS))
def saved(request, tmp_path_factory):
    """Path of a saved model, and its kind."""
    data, _ = simulate_patchseq(n_cells=120, n_genes=30, n_features=4, n_informative=6, n_types=3, random_state=0)
    model = PairedModel(ESTIMATORS[request.param]).fit(data)
    return model.save(tmp_path_factory.mktemp("saved") / "map.sbnn"), request.param


def parts_of(path):
    """Configuration and arrays of a model file."""
    with zipfile.ZipFile(path) as file:
        config = json.loads(file.read("config.json"))
        arrays = {
            name.removesuffix(".npy"): np.load(io.BytesIO(file.read(name)))
            for name in file.namelist()
            if name.endswith(".npy")
        }
    return config, arrays


def write(path, config, arrays, **more):
    """Write a model file of any content; `more` are bytes of members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        if config is not None:
            file.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, array)
            file.writestr(f"{name}.npy", stream.getvalue())
        for name, content in more.items():
            file.writestr(name, content)
    return path


def test_the_parts_written_again_are_the_same_model(saved, tmp_path):
    path, _ = saved
    again = load_model(write(tmp_path / "again.sbnn", *parts_of(path)))
    np.testing.assert_array_equal(again.gene_names_, load_model(path).gene_names_)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"rank": "two", "sparsity": 1}}, "has an unknown setting"),
        ({"settings": None}, "its estimator is .* with settings"),
        ({"estimator": "Lasso"}, "its estimator is 'Lasso', expected one of 'SparseBottleneckRegressor'"),
        ({"estimator": ["os.system"]}, "its estimator is"),
        ({"format": "thesis"}, "its format is 'thesis', not 'sbnn model'"),
        ({"format_version": None}, "its format_version is None, not two whole numbers"),
        ({"format_version": "2.0"}, "its format_version is '2.0', not two whole numbers"),
        ({"format_version": {"0": 2}}, "its format_version is {'0': 2}, not two whole numbers"),
        ({"median_depth": -1}, "median_depth must be finite and more than 0, got -1"),
        ({"median_depth": None}, "holds an array 'gene_shares_' that no such model has"),
        ({"median_depth": float("nan")}, "median_depth must be finite and more than 0, got nan"),
        ({"median_depth": "many"}, "median_depth must be a number, got 'many'"),
        ({"outlier_distance": None}, "outlier_distance must be a number, got None"),
        ({"outlier_distance": -2.0}, "outlier_distance must be finite and at least 0, got -2.0"),
        ({"feature_units": ["mV"]}, "its feature_units should be 4, one per feature"),
        ({"feature_units": [1, 2, 3, 4]}, "its feature_units should be text"),
        ({"features_measured": "yes"}, "its features_measured is yes, not true or false"),
        ({"features_measured": False, "feature_units": ["mV"] * 4}, "is False, .* or not true with units"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(saved, tmp_path, change, message):
    config, arrays = parts_of(saved[0])
    path = write(tmp_path / "new.sbnn", config | change, arrays)
    with pytest.raises(
        ValueError, match=rf"(?s)new.sbnn is not a model of sbnn, or is truncated or damaged \(.*({message})"
    ):
        load_model(path)


def replaced(array, change):
    """An array changed as a name says."""
    if change == "short":
        return array[:-1]
    if change == "long":
        return np.concatenate([array, array[:1]])
    if change == "another kind":
        return np.arange(array.size).reshape(array.shape).astype("U8" if array.dtype.kind != "U" else "f8")
    changed = array.copy()
    changed.flat[0] = {"NaN": np.nan, "infinite": np.inf, "negative": -1, "zero": 0}[change]
    return changed


CHANGES = [
    *((name, change) for name in ("gene_names", "feature_names", "selected_") for change in ("short", "long")),
    *((name, "another kind") for name in ("gene_names", "selected_", "x_mean_", "gene_means_", "training_genes_")),
    *(
        (name, change)
        for name in ("x_mean_", "y_mean_", "gene_norms_", "gene_means_", "feature_sds_", "gene_shares_")
        for change in ("short", "NaN", "infinite")
    ),
    *((name, change) for name in ("gene_sds_", "feature_sds_") for change in ("negative", "zero")),
    ("gene_norms_", "negative"),
    ("gene_shares_", "negative"),
    ("training_genes_", "NaN"),
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_an_array_that_cannot_be_is_refused(saved, tmp_path, name, change):
    config, arrays = parts_of(saved[0])
    path = write(tmp_path / "new.sbnn", config, arrays | {name: replaced(arrays[name], change)})
    with pytest.raises(ValueError, match="new.sbnn is not a model of sbnn, or is truncated or damaged"):
        load_model(path)


def test_weights_that_do_not_fit_the_settings_are_refused(saved, tmp_path):
    config, arrays = parts_of(saved[0])
    for name in {"network": ("weights 0", "weights 5", "weights 11"), "linear": ("W", "V", "offset")}[saved[1]]:
        for change in ("short", "NaN"):
            path = write(tmp_path / "new.sbnn", config, arrays | {name: replaced(arrays[name], change)})
            with pytest.raises(ValueError, match=f"its array '{name}'"):
                load_model(path)
        path = write(tmp_path / "new.sbnn", config, {key: array for key, array in arrays.items() if key != name})
        with pytest.raises(ValueError, match=f"it lacks the array '{name}'"):
            load_model(path)


def test_widths_are_compared_with_the_weights_before_anything_is_made(saved, tmp_path):
    config, arrays = parts_of(saved[0])
    huge = {"network": {"hidden": [10**12, 10**12]}, "linear": {"rank": 10**12}}[saved[1]]
    path = write(tmp_path / "new.sbnn", config | {"settings": config["settings"] | huge}, arrays)
    message = {"network": "its array 'weights 0' has type float32", "linear": "rank must be between 1 and 30, got"}
    with pytest.raises(ValueError, match=message[saved[1]]):
        load_model(path)


def test_other_members_and_arrays_are_refused(saved, tmp_path):
    config, arrays = parts_of(saved[0])
    for content, message in (
        ({"arrays": arrays | {"harmless": np.zeros(3)}}, "holds an array 'harmless' that no such model has"),
        ({"arrays": arrays, "../../escape": b"x"}, "has a member '../../escape', which is neither"),
        ({"arrays": arrays, "bad.npy": b"x"}, "its member 'bad.npy' is not an array of numbers or text"),
        ({"arrays": {f"a{number}": np.zeros(1) for number in range(300)}}, "it has 301 members"),
    ):
        path = write(tmp_path / "new.sbnn", config, **content)
        with pytest.raises(ValueError, match=message):
            load_model(path)
    with pytest.raises(ValueError, match=r"it has no config.json"):
        load_model(write(tmp_path / "new.sbnn", None, arrays))


def test_bombs_are_refused_before_they_are_unpacked(saved, tmp_path):
    config, arrays = parts_of(saved[0])
    path = write(tmp_path / "bomb.sbnn", config, arrays, **{"bomb.npy": bytes(200_000_000)})
    with pytest.raises(ValueError, match="it unpacks to 2.* bytes"):
        load_model(path)
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), } \n"
    with pytest.raises(ValueError, match="'bomb.npy': it holds an array of shape"):
        load_model(write(tmp_path / "bomb.sbnn", config, arrays, **{"bomb.npy": header + bytes(80)}))
    for text in ("[" * 500_000, '{"a":' * 100_000, "[]", "not JSON", b"\xff\xfe"):
        with pytest.raises(ValueError, match="bomb.sbnn is not a model of sbnn, or is truncated or damaged"):
            load_model(write(tmp_path / "bomb.sbnn", text, arrays))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused_before_they_are_unpacked(saved, tmp_path, method):
    """They unpack without a limit: ten kilobytes may become gigabytes."""
    config, arrays = parts_of(saved[0])
    path = write(tmp_path / "bomb.sbnn", config, arrays)
    with zipfile.ZipFile(path, "a", method) as file:
        file.writestr("bomb.npy", bytes(1_000_000))
    with pytest.raises(ValueError, match="packed in a way that sbnn does not use"):
        load_model(path)


def test_a_member_is_not_unpacked_further_than_it_says(saved, tmp_path):
    config, arrays = parts_of(saved[0])
    path = write(tmp_path / "bomb.sbnn", config, arrays, **{"bomb.npy": bytes(50_000_000)})
    content, size = path.read_bytes(), struct.pack("<I", 50_000_000)
    assert content.count(size) == 2  # in both headers
    path.write_bytes(content.replace(size, struct.pack("<I", 80)))
    with pytest.raises(ValueError, match="bomb.sbnn is not a model of sbnn, or is truncated or damaged"):
        load_model(path)


def test_numbers_of_four_hundred_digits_are_refused(saved, tmp_path):
    config, arrays = parts_of(saved[0])
    for change in ({"median_depth": 10**400}, {"outlier_distance": 10**400}):
        path = write(tmp_path / "new.sbnn", config | change, arrays)
        with pytest.raises(ValueError, match="must be finite"):
            load_model(path)


def test_what_the_model_reads_must_be_what_it_says(tmp_path, saved):
    config, arrays = parts_of(saved[0])
    if saved[1] == "network":
        pytest.skip("a network has weights for the genes it reads alone")
    others = np.roll(arrays["selected_"], 1)
    training = np.zeros((len(arrays["training_genes_"]), others.sum()))
    path = write(tmp_path / "new.sbnn", config, arrays | {"selected_": others, "training_genes_": training})
    with pytest.raises(ValueError, match="its model reads genes that are not selected"):
        load_model(path)


def test_files_cut_anywhere_are_refused(saved, tmp_path):
    content = saved[0].read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.sbnn").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"cut.sbnn is not a model of sbnn, or is truncated"):
            load_model(tmp_path / "cut.sbnn")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none.sbnn")
    with pytest.raises(IsADirectoryError):
        load_model(tmp_path)


def test_another_major_version_is_no_damage(saved, tmp_path):
    config, arrays = parts_of(saved[0])
    for version, others in (([3, 0], {}), ([1, 0], {"arrays.npz": b"", "network.keras": b""})):
        path = write(tmp_path / "new.sbnn", config | {"format_version": version}, arrays, **others)
        message = f"version {version[0]}; this sbnn reads 'sbnn model', version 2: use the sbnn that wrote it"
        with pytest.raises(ValueError, match=message):
            load_model(path)


class Harmful:
    """Leaves a trace if it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_nothing_in_a_model_file_is_executed(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, arrays = parts_of(saved[0])
    for name in ("gene_names", "harmless"):
        write("harmful.sbnn", config, arrays | {name: np.array([Harmful()], dtype=object)})
        with pytest.raises(ValueError, match=f"its member '{name}.npy': it holds values of type '|O'"):
            load_model("harmful.sbnn")
    assert not (tmp_path / "harm").exists()


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path):
    data, _ = simulate_patchseq(n_cells=120, n_genes=30, n_features=4, n_informative=6, n_types=3, random_state=0)
    model = PairedModel(ESTIMATORS["linear"]).fit(data)
    model.estimator_.x_mean_ = np.full(30, np.nan)
    with pytest.raises(ValueError, match="its array 'x_mean_' holds values that are not finite"):
        model.save(tmp_path / "map.sbnn")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("n_folds", [None, 2])
def test_moments_of_a_model_and_of_folds_are_written_and_checked_alike(counted, n_folds):
    data, _ = simulate_patchseq(n_cells=60, n_genes=9, n_features=3, n_informative=4, n_types=3)
    data = data if counted else replace(data, counts=None)
    fitted = [fit_preprocessor(data, slice(start, None))[0] for start in range(n_folds or 1)]
    packed = [pack_moments(preprocessor) for preprocessor in fitted]
    arrays = packed[0] if n_folds is None else {name: np.stack([one[name] for one in packed]) for name in packed[0]}
    depths = [preprocessor.median_depth_ for preprocessor in fitted] if counted else None
    assert ("gene_shares_" in arrays) == counted

    def unpacked(changed=(), depths=depths):
        take = _Taker(arrays | dict(changed))
        found = unpack_moments(take, 9, 3, depths, n_folds)
        take.check_nothing_is_left()
        return found

    for mine, theirs in zip(unpacked(), fitted, strict=True):
        assert mine.median_depth_ == theirs.median_depth_ and same_moments(mine, theirs)
        np.testing.assert_array_equal(
            mine.transform_genes(**({"counts": data.counts} if counted else {"expression": data.X})),
            theirs.transform_genes(**({"counts": data.counts} if counted else {"expression": data.X})),
        )
    if n_folds:
        assert not same_moments(*fitted)
    with pytest.raises(ValueError, match="array 'gene_sds_' holds 0, too small a value"):
        unpacked({"gene_sds_": arrays["gene_sds_"] * 0})
    if counted:
        whose = "its gene_shares_ add" if n_folds is None else "the gene_shares_ of its fold 0 add"
        with pytest.raises(ValueError, match=f"{whose} up to 2, not to 1"):
            unpacked({"gene_shares_": arrays["gene_shares_"] * 2})
        with pytest.raises(ValueError, match="median_depth must be finite and more than 0, got 0"):
            unpacked(depths=[0] * len(fitted))
