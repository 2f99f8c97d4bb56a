"""Where the chunks of a cross-validation run: in this process, in others of this machine, or on a cluster.

Everything goes through joblib, so that `joblib.parallel_config` decides: processes of this machine ("loky"), or a
Dask cluster ("dask"), for example one that dask-jobqueue starts under SLURM.
"""

import os
import sys
import threading

from joblib import Parallel, cpu_count, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

#: Backends of joblib that run on this machine.
_LOCAL = ("SequentialBackend", "ThreadingBackend", "LokyBackend", "MultiprocessingBackend")
_PREPARING = threading.Lock()
#: How TensorFlow and JAX are told, before they start, how many threads to use.
_THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")


def start_backend():
    """Start Keras and its backend now, where it would otherwise start with the first network."""
    import sbnn.backend  # noqa: F401


def runs_here(n_jobs):
    """Whether joblib, as it is configured, would run everything in this process, one after the other.

    Parameters
    ----------
    n_jobs : int or None
        See `sbnn.cross_validate`.

    Returns
    -------
    bool
    """
    return is_local() and effective_n_jobs(n_jobs) == 1


def run_elsewhere(function, arguments, n_jobs, networks=False):
    """Call a function for each tuple of arguments, in processes that share the cores among them.

    Parameters
    ----------
    function : callable
    arguments : iterable of tuple
    n_jobs : int or None
    networks : bool
        Whether the function trains networks: then the processes start the Keras backend of this one.

    Yields
    ------
    tuple
        (place of the arguments, result), in the order in which they finish.
    """
    n_threads = max(1, cpu_count() // effective_n_jobs(n_jobs)) if is_local() else None
    first = _Preparation(_keras_backend() if networks else None, n_threads)
    calls = (delayed(_call)(first, place, function, values) for place, values in enumerate(arguments))
    # A cluster is given everything at once: workers that join it later take their share.
    settings = {} if is_local() else {"pre_dispatch": "all"}
    yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered", **settings)(calls)


def is_local():
    """Whether joblib, as it is configured, stays on this machine."""
    return type(get_active_backend()[0]).__name__ in _LOCAL


def _keras_backend():
    """Name of the Keras backend of this process; None where Keras is not in use."""
    return sys.modules["keras"].backend.backend() if "keras" in sys.modules else None


class _Preparation:
    """Prepares the process that unpickles it, before the arguments behind it are unpickled and import Keras."""

    def __init__(self, keras_backend, n_threads):
        self.keras_backend, self.n_threads = keras_backend, n_threads

    def __reduce__(self):
        return _prepare, (self.keras_backend, self.n_threads)


def _prepare(keras_backend, n_threads):
    """Choose backend and number of threads, in another process."""
    with _PREPARING:
        return _prepare_once(keras_backend, n_threads)


def _prepare_once(keras_backend, n_threads):
    """Do so for the first of the threads that come."""
    if keras_backend is None or "keras" in sys.modules:
        found = _keras_backend()
        if keras_backend not in (None, found):
            raise RuntimeError(
                f"this process trains with the Keras backend {keras_backend!r}, but a worker already uses {found!r}: "
                f"start the workers with KERAS_BACKEND={keras_backend}"
            )
    else:
        os.environ["KERAS_BACKEND"] = keras_backend
        for variable in _THREAD_VARIABLES if n_threads else ():
            os.environ.setdefault(variable, str(n_threads))
        start_backend()
        _keep_compiled_functions()
    return _Preparation(keras_backend, n_threads)


def _keep_compiled_functions():
    """Let memory grow: loky takes compiled functions for a leak above 300 MB, and starts the process anew."""
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = float("inf")


def _call(_, place, function, arguments):
    """Call the function in the other process; pickle brings the arguments in their order, the preparation first."""
    return place, function(*arguments)
