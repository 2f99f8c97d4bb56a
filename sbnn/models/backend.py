"""Keras, with its backend started silently; every module that needs Keras imports it from here."""

import os
import sys
from contextlib import contextmanager

from sbnn.models.compilation_cache import use_compilation_cache

#: Folder in which compiled functions are kept, or None.
COMPILED = use_compilation_cache()


@contextmanager
def _silent_stderr():
    """Discard what C++ libraries write to stderr: TensorFlow's first messages ignore the log level."""
    try:
        stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # a process without stderr has nothing to silence
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _start():
    """Import Keras and let its backend find its devices."""
    import keras

    keras.ops.convert_to_tensor(0.0)
    return keras


def _start_quietly():
    """Start Keras; its messages are shown if the user asked for them, or started TensorFlow before."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1", "2"):
        return _start()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # XLA would otherwise write messages while it compiles
    if "tensorflow" in sys.modules:
        return _start()
    with _silent_stderr():
        return _start()


try:
    keras = _start_quietly()
except ImportError as error:
    raise ImportError(
        f"Keras cannot start its backend ({error}): install one, pip install '.[cpu]' in the folder of sbnn for "
        "TensorFlow, or '.[jax]' and set the environment variable KERAS_BACKEND=jax"
    ) from error
ops = keras.ops
