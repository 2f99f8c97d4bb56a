"""Runs the chunks of a cross-validation in threads or processes on this machine, or on a cluster.

Processes and clusters go through joblib, so that `joblib.parallel_config` decides: processes on this machine ("loky"),
or a Dask cluster ("dask"), for example one that dask-jobqueue starts under SLURM.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Lock
from typing import Any

from joblib import Parallel, cpu_count, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

#: Backends of joblib that start processes on this machine.
_PROCESSES = ("LokyBackend", "MultiprocessingBackend")
#: Backends of joblib that run on this machine.
_LOCAL = ("SequentialBackend", "ThreadingBackend", *_PROCESSES)
_PREPARING = Lock()
#: Environment variables that tell TensorFlow and JAX, before they start, how many threads to use.
_THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")


def start_backend() -> None:
    """Start Keras and its backend now, instead of with the first network."""
    import sbnn.models.backend  # noqa: F401


def runs_here(n_jobs: int | None) -> bool:
    """Whether joblib, as configured, would run everything sequentially in this process.

    Parameters
    ----------
    n_jobs : int or None
        See `sbnn.cross_validate`.

    Returns
    -------
    bool
    """
    return is_local() and effective_n_jobs(n_jobs) == 1


def is_local() -> bool:
    """Whether joblib, as configured, stays on this machine."""
    return type(get_active_backend()[0]).__name__ in _LOCAL


def n_threads_for(n_jobs: int | None, n_networks: int) -> int:
    """Return how many threads of this process train networks on its CPU, each one network at a time.

    If `n_jobs` is None and joblib is not configured, one per core: this is as fast as one process per core, without
    starting processes and compiling in each. Within a worker of joblib, which has its share of the cores, one.

    Parameters
    ----------
    n_jobs : int or None
    n_networks : int

    Returns
    -------
    int
        1: the calling thread, in stacks.
    """
    backend, configured = get_active_backend()
    untouched = n_jobs is None and configured is None and type(backend).__name__ == "LokyBackend"
    return max(1, min(cpu_count(), n_networks)) if untouched and not backend.nesting_level else 1


class _StoppedError(Exception):
    """Ends a thread whose results are no longer needed."""


def run_in_threads(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], n_threads: int, show: Callable[..., object]
) -> Iterator[tuple[int, Any]]:
    """Call a function for each tuple of arguments, in threads of this process.

    Parameters
    ----------
    function : callable
        Takes the arguments, followed by a function to report with.
    arguments : list of tuple
    n_threads : int
    show : callable
        Called in this thread with the position of the arguments and what was reported. If the generator is closed,
        threads stop at their next report.

    Yields
    ------
    tuple
        (position of the arguments, result), in the order in which they finish.
    """
    events: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    stop = Event()

    def work(place):
        def report(*values):
            if stop.is_set():
                raise _StoppedError
            events.put((show, (place, *values)))

        try:
            result = function(*arguments[place], report)
            events.put((None, (place, result)))
        except BaseException as error:
            events.put((error, None))

    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for place in range(len(arguments)):
                pool.submit(work, place)
            n_left = len(arguments)
            while n_left:
                event, values = events.get()
                if isinstance(event, BaseException):
                    raise event
                if event is not None:
                    event(*values)
                    continue
                n_left -= 1
                yield values
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def run_elsewhere(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], n_jobs: int | None, networks: bool = False
) -> Iterator[tuple[int, Any]]:
    """Call a function for each tuple of arguments where joblib is configured to: in local processes or on a cluster.

    Parameters
    ----------
    function : callable
    arguments : iterable of tuple
    n_jobs : int or None
    networks : bool
        Whether the function trains networks; the processes then start the Keras backend that this process uses.

    Yields
    ------
    tuple
        (position of the arguments, result), in the order in which they finish.
    """
    backend = keras_backend() if networks else None
    settings = _prepare_workers(backend, n_jobs)
    calls = (delayed(_call)(backend, place, function, values) for place, values in enumerate(arguments))
    yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered", **settings)(calls)


def _prepare_workers(backend, n_jobs):
    """Have workers start the Keras backend before they receive models, which import it; return Parallel's arguments."""
    active = get_active_backend()[0]
    kind = type(active).__name__
    if kind in _PROCESSES:
        return {"initializer": prepare_worker, "initargs": (backend, max(1, cpu_count() // effective_n_jobs(n_jobs)))}
    if kind in _LOCAL:
        return {}
    if backend is not None and hasattr(active, "client"):
        _prepare_dask(active.client, backend)
    # A cluster receives everything at once, so that workers that join later take their share.
    return {"pre_dispatch": "all"}


def _prepare_dask(client, backend):
    """Prepare the current workers of a Dask cluster, and those that join later."""
    from distributed import WorkerPlugin

    class StartBackend(WorkerPlugin):
        name = f"sbnn-{backend}"

        def setup(self, worker):
            prepare_worker(backend, None)

    client.register_plugin(StartBackend())


def keras_backend() -> str | None:
    """Name of the Keras backend of this process; None if Keras is not in use."""
    return sys.modules["keras"].backend.backend() if "keras" in sys.modules else None


def prepare_worker(keras_backend: str | None, n_threads: int | None) -> None:
    """Start the Keras backend of a process that is going to train networks.

    Parameters
    ----------
    keras_backend : str or None
        None: nothing is started.
    n_threads : int or None
        Cores that it may use; None leaves the choice to the backend.

    Raises
    ------
    RuntimeError
        The process already uses another backend.
    """
    with _PREPARING:  # workers may be threads of one process
        if keras_backend is None or "keras" in sys.modules:
            _check_backend(keras_backend)
            return
        os.environ["KERAS_BACKEND"] = keras_backend
        for variable in _THREAD_VARIABLES if n_threads else ():
            os.environ.setdefault(variable, str(n_threads))
        start_backend()
        _keep_compiled_functions()


def _check_backend(expected):
    """Raise RuntimeError if this process uses a backend that differs from the expected one."""
    found = keras_backend()
    if expected is not None and found is not None and found != expected:
        raise RuntimeError(
            f"this process trains with the Keras backend {expected!r}, but a worker already uses {found!r}: "
            f"start the workers with KERAS_BACKEND={expected}"
        )


def _keep_compiled_functions():
    """Let memory grow: above 300 MB, loky mistakes compiled functions for a leak and restarts the process."""
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = float("inf")


def _call(backend, place, function, arguments):
    """Call the function in the other process."""
    _check_backend(backend)
    return place, function(*arguments)
