"""Compiled functions are kept on disk, and nothing that happens there stops a fit or changes it."""

import os
import subprocess
import sys
import time

import pytest

from sbnn.models import compilation_cache
from sbnn.models.compilation_cache import use_compilation_cache

SCRIPT = """
import hashlib, sys
from sbnn import SparseBottleneckRegressor, simulate_patchseq
from sbnn.models.schedules import Stage
data, _ = simulate_patchseq(n_cells=100, n_genes=30, n_features=4, n_informative=6, n_types=3, random_state=0)
network = SparseBottleneckRegressor(hidden=(8, 4), schedule=[Stage("finetuned", 2, 1e-3)]).fit(data.X, data.Y)
print(hashlib.sha256(b"".join(weight.tobytes() for weight in network.weights_)).hexdigest())
"""
VARIABLES = ("TF_XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


def run(folder, backend="tensorflow"):
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"KERAS_BACKEND": backend, "SBNN_COMPILATION_CACHE": str(folder)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1], {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_second_process_takes_what_the_first_compiled_and_damage_is_mended(tmp_path, backend):
    pytest.importorskip(backend)
    network, files = run(tmp_path, backend)
    assert files
    assert run(tmp_path, backend) == (network, files) or backend == "jax"  # JAX notes when a file was read
    for path, size in files.items():
        path.write_bytes(path.read_bytes()[: size // 2])
    mended, after = run(tmp_path, backend)
    assert mended == network
    assert after


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
    assert first.parent == tmp_path and f"--tf_xla_persistent_cache_directory={first}" in os.environ["TF_XLA_FLAGS"]
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(first)
    environment.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=mine")
    environment.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    assert use_compilation_cache() != first
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_persistent_cache_directory=mine"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(first)


def test_the_oldest_functions_go_first(environment, tmp_path):
    environment.setenv("SBNN_COMPILATION_CACHE", str(tmp_path))
    environment.setattr(compilation_cache, "MOST_KEPT", 250)
    folder = use_compilation_cache()
    for number in range(4):
        (folder / f"function{number}").write_bytes(bytes(100))
        os.utime(folder / f"function{number}", (time.time() + number,) * 2)
    use_compilation_cache()
    assert sorted(path.name for path in folder.iterdir()) == ["function2", "function3"]
