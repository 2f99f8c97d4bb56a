"""What differs between TensorFlow and JAX: the only module that distinguishes them."""

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sbnn._hints import Tensor
from sbnn.models.backend import COMPILED, keras, ops
from sbnn.models.compilation_cache import clear

#: Memory of an accelerator in bytes, assumed if the backend does not report it.
UNKNOWN_MEMORY = 8 * 2**30


class BackendTools(NamedTuple):
    """What differs between backends.

    Attributes
    ----------
    jit : callable
        Compiles a function.
    gradient : callable
        Turns a function of weights into its gradient.
    take : callable
        Takes rows of a tensor by their numbers, which must exist (`keras.ops.take` also handles negative ones, at the
        cost of ten more operations each).
    take_over : callable
        Turns an aligned array on the CPU into a tensor without a copy.
    """

    jit: Callable[[Callable[..., Any]], Callable[..., Any]]
    gradient: Callable[[Callable[..., Any]], Callable[..., Any]]
    take: object
    take_over: Callable[[np.ndarray], Tensor]


@lru_cache(maxsize=1)
def backend_tools() -> BackendTools:
    """Return the tools of the current backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Every shape of stack is compiled once, on purpose: TensorFlow's warnings about it would fill notebooks.
        logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in record.getMessage())

        def gradient(function):
            def compute(weights, *arguments):
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    loss = function(weights, *arguments)
                return tape.gradient(loss, weights)

            return compute

        return BackendTools(
            jit=_recovering,
            gradient=gradient,
            take=tf.gather,
            take_over=lambda array: tf.experimental.dlpack.from_dlpack(array.__dlpack__()),
        )
    if keras.backend.backend() == "jax":
        import jax

        return BackendTools(
            jit=jax.jit,
            gradient=jax.grad,
            take=lambda table, rows: jax.numpy.take(table, rows, axis=0, mode="clip"),
            take_over=lambda array: jax.device_put(array, may_alias=True),
        )
    raise RuntimeError(f"Keras runs on {keras.backend.backend()!r}; sbnn trains with tensorflow or jax")


def _recovering(function):
    """Compile a function with TensorFlow, and again if what is kept of it on disk cannot be read."""
    import tensorflow as tf

    def compile_it():
        return tf.function(function, jit_compile=True, autograph=False)

    compiled = compile_it()

    def call(*arguments):
        nonlocal compiled
        try:
            return compiled(*arguments)
        except tf.errors.OpError as error:
            # A damaged file is reported in many ways, some of which do not name it.
            if COMPILED is None:
                raise
            clear(COMPILED)
            compiled = compile_it()  # TensorFlow remembers that the other one failed
            try:
                return compiled(*arguments)
            except tf.errors.OpError:
                error.add_note(
                    f"If this is about compiled functions, which are kept in {COMPILED}: free disk space, or set the "
                    "environment variable SBNN_COMPILATION_CACHE to another folder or to off"
                )
                raise error from None

    return call


def on_device(array: np.ndarray) -> Tensor:
    """Return an array as a tensor, at the cost of one copy; by default both backends make two of a large array."""
    if accelerator_memory() is not None or not array.size:
        return ops.convert_to_tensor(array)
    # Memory that starts at a multiple of 64 bytes is used without a copy.
    memory = np.empty(array.nbytes + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    aligned = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    aligned[...] = array
    return backend_tools().take_over(aligned)


def accelerator_memory() -> int | None:
    """Return the bytes available on the GPU (or TPU) of the backend; None if it computes on the CPU."""
    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        if device.platform == "cpu":
            return None
        numbers = device.memory_stats() or {}
        return numbers.get("bytes_limit", UNKNOWN_MEMORY) - numbers.get("bytes_in_use", 0)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return UNKNOWN_MEMORY if tf.config.list_physical_devices("GPU") else None
    return None
