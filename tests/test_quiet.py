"""What a user's script prints is its own."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
from sbnn import PairedModel, SparseBottleneckRegressor, cross_validate, simulate_patchseq
data, _ = simulate_patchseq(n_cells=100, n_genes=30, n_features=4, n_informative=6, n_types=3, random_state=0)
model = SparseBottleneckRegressor(n_selected=5, hidden=(8, 4))
if __name__ == "__main__":
    PairedModel(model).fit(data).predict(data)
    result = cross_validate(data, {"sBNN-2": model}, folds="paper", n_jobs=2, progress=False)
    print(" ".join(result.summary().index.get_level_values("stage")))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_nothing_is_printed_that_the_script_does_not_print(tmp_path, backend):
    """Neither by the backend nor by the processes beside it; stages come in the order of training."""
    pytest.importorskip(backend)
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "KERAS_BACKEND": backend}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "frozen finetuned pruned\n" and done.stderr == ""


def test_without_a_backend_it_is_said_how_to_get_one(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    script = "from sbnn import SparseBottleneckRegressor"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("PyTorch is installed here")
    assert "ImportError: Keras cannot start its backend" in done.stderr and "KERAS_BACKEND=jax" in done.stderr
