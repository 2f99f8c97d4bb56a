"""Compiled functions are kept on disk, and nothing that happens there stops a fit or changes it."""

import os
import subprocess
import sys
import time

import pytest

from sbnn.models import compilation_cache, devices
from sbnn.models.compilation_cache import use_compilation_cache

SCRIPT = """
import hashlib, sys
from sbnn import SparseBottleneckRegressor, cross_validate, simulate_patchseq
from sbnn.models.schedules import Stage
data, _ = simulate_patchseq(n_cells=100, n_genes=30, n_features=4, n_informative=6, n_types=3, random_state=0)
network = SparseBottleneckRegressor(hidden=(8, 4), schedule=[Stage("finetuned", 2, 1e-3)])
networks = cross_validate(data, {"sBNN-2": network}, progress=False).estimators  # in threads
weights = [weight.tobytes() for network in networks for weight in network.weights_]
print(hashlib.sha256(b"".join(weights)).hexdigest())
"""
VARIABLES = ("TF_XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


def run(folder, backend="tensorflow"):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"KERAS_BACKEND": backend, "SBNN_COMPILATION_CACHE": str(folder)}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # what takes longest differs on a busy machine
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1], {path: path.stat().st_mtime_ns for path in functions(folder)}


def functions(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-atime")]


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_second_process_takes_what_the_first_compiled_and_damage_is_mended(tmp_path, backend):
    pytest.importorskip(backend)
    network, files = run(tmp_path, backend)
    assert files
    assert run(tmp_path, backend) == (network, files)
    for path in files:
        path.write_bytes(b"")  # what a crash may leave
    mended, after = run(tmp_path, backend)
    assert mended == network
    assert all(path.stat().st_size for path in after) or backend == "jax"  # JAX goes on without a damaged file


@pytest.mark.parametrize("error", ["InvalidArgumentError", "InternalError", "NotFoundError", "DataLossError"])
def test_a_function_that_cannot_be_read_is_compiled_again_and_other_errors_are_raised(monkeypatch, tmp_path, error):
    """As TensorFlow reports a file that is empty, altered, removed by another process, or cut."""
    tf = pytest.importorskip("tensorflow")
    damaged, other = tmp_path / "xla_compile_cache__1__2__XLA_CPU_JIT.pb", tmp_path / "mine.h5"
    damaged.touch()
    other.touch()

    def function(function, **_):
        def call(*arguments):
            if damaged.exists() or not arguments:
                raise getattr(tf.errors, error)(None, None, "no")
            return function(*arguments)

        return call

    monkeypatch.setattr(tf, "function", function)
    monkeypatch.setattr(devices, "COMPILED", tmp_path)
    call = devices._recovering(lambda number: number + 1)
    assert call(1) == 2
    assert list(tmp_path.iterdir()) == [other]
    with pytest.raises(getattr(tf.errors, error)) as raised:
        call()
    assert "SBNN_COMPILATION_CACHE" in raised.value.__notes__[0]


@pytest.fixture
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("setting", ["off", "0", "/proc/none", "folder with spaces"])
def test_without_a_folder_nothing_is_kept(environment, tmp_path, setting):
    environment.chdir(tmp_path)
    environment.setenv("SBNN_COMPILATION_CACHE", setting)
    assert use_compilation_cache() is None
    assert not any(name in os.environ for name in VARIABLES)


def test_a_full_disk_keeps_nothing(environment, tmp_path):
    environment.setenv("SBNN_COMPILATION_CACHE", str(tmp_path))
    environment.setattr(compilation_cache, "LEAST_FREE", 10**20)
    assert use_compilation_cache() is None


def test_what_the_reader_has_set_stays_and_other_machines_have_other_folders(environment, tmp_path):
    environment.setenv("SBNN_COMPILATION_CACHE", str(tmp_path))
    first = use_compilation_cache()
    assert (
        first.parent == tmp_path / "sbnn-compiled"
        and f"--tf_xla_persistent_cache_directory={first}" in os.environ["TF_XLA_FLAGS"]
    )
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(first)
    environment.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=mine")
    environment.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    environment.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    assert use_compilation_cache() != first
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_persistent_cache_directory=mine"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"


def test_a_child_process_decides_for_itself(environment, tmp_path):
    """It inherits what its parent has set, which is no wish of the user."""
    environment.setenv("SBNN_COMPILATION_CACHE", str(tmp_path))
    environment.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug")
    first = use_compilation_cache()
    assert use_compilation_cache() == first  # its own flags are not part of the name
    environment.setenv("SBNN_COMPILATION_CACHE", "off")
    assert use_compilation_cache() is None
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_clustering_debug"
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_the_oldest_functions_go_first_and_nothing_else_does(environment, tmp_path):
    environment.setenv("SBNN_COMPILATION_CACHE", str(tmp_path))
    environment.setattr(compilation_cache, "MOST_KEPT", 250)
    folder = use_compilation_cache()
    for number in range(4):
        for name in (f"jit_{number}-cache", f"mine{number}.h5"):
            (folder / name).write_bytes(bytes(100))
            os.utime(folder / name, (time.time() + number - 10_000,) * 2)
    (folder / "jit_young-cache").write_bytes(bytes(100))
    use_compilation_cache()
    kept = [*(f"mine{number}.h5" for number in range(4)), "jit_3-cache", "jit_young-cache"]
    assert {path.name for path in folder.iterdir()} == set(kept)
    environment.setattr(compilation_cache, "MOST_KEPT", 0)
    use_compilation_cache()
    assert (folder / "jit_young-cache").exists()  # another process may be about to read it
