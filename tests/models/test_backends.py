"""TensorFlow and JAX train the same networks."""

import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import numpy as np
from sbnn import SparseBottleneckRegressor, simulate_patchseq
from sbnn.models.schedules import SCHEDULES

data, _ = simulate_patchseq(n_cells=100, n_genes=30, n_features=5, n_informative=6)
model = SparseBottleneckRegressor(hidden=(16, 8), n_selected=8, schedule=SCHEDULES["paper"].shortened(0.02))
model.fit(data.X, data.Y)
Z = model.transform(data.X)
np.savez("out.npz", predictions=model.predict(data.X), genes=model.decode_genes(Z), selected=model.selected_)
model.network_.save("network.keras")
"""


def train(backend, folder):
    """Train in a process of its own."""
    folder.mkdir()
    script = SCRIPT + f"import keras\nassert keras.backend.backend() == {backend!r}\n"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    trained = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert trained.returncode == 0, trained.stderr
    assert "retracing" not in trained.stderr
    return np.load(folder / "out.npz")


def test_both_backends_train_the_same_network(tmp_path):
    pytest.importorskip("jax")
    first, second = (train(backend, tmp_path / backend) for backend in ("tensorflow", "jax"))
    np.testing.assert_array_equal(first["selected"], second["selected"])
    np.testing.assert_allclose(first["predictions"], second["predictions"], atol=1e-4)
    np.testing.assert_allclose(first["genes"], second["genes"], atol=1e-3)


def test_a_backend_that_cannot_train_is_named(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    failed = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "Keras runs on 'numpy'; sbnn trains with tensorflow or jax" in failed.stderr
