"""Numbers as small integers with a range: what a page embeds of cells, at a stated resolution."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sbnn._checks import check_choice


class Quantised(NamedTuple):
    """Values as integers: value = low + code * step, step = (high - low) / (largest code - 1).

    Attributes
    ----------
    codes : uint8 or uint16 array, shape (n_cells,)
        The largest code, 255 or 65535, stands for a missing value.
    low, high : float
        Smallest and largest value; 0 if all are missing.
    """

    codes: np.ndarray
    low: float
    high: float

    @property
    def step(self) -> float:
        """Resolution: restored values are off by at most half of it."""
        return (self.high - self.low) / (np.iinfo(self.codes.dtype).max - 1)

    def restore(self) -> np.ndarray:
        """Return the values, float64 array, NaN where they are missing."""
        missing = self.codes == np.iinfo(self.codes.dtype).max
        return np.where(missing, np.nan, self.low + self.codes * self.step)


def quantise(values: npt.ArrayLike, bits: int) -> Quantised:
    """Return values as integers of 8 or 16 bits over their range.

    Parameters
    ----------
    values : array, shape (n_cells,)
        NaN where missing.
    bits : {8, 16}
        For a resolution of 1/254 or 1/65534 of the range.

    Returns
    -------
    Quantised

    Raises
    ------
    ValueError
        Values that are infinite or not in one dimension, another number of bits.
    """
    check_choice(str(bits), ("8", "16"), "number of bits")
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise ValueError(f"values must be one finite number (or NaN) per cell, got shape {values.shape}")
    most, known = 2**bits - 2, ~np.isnan(values)
    codes = np.full(len(values), most + 1, np.uint8 if bits == 8 else np.uint16)
    if not known.any():
        return Quantised(codes, 0.0, 0.0)
    low, high = float(values[known].min()), float(values[known].max())
    # Half of the range is taken first, because the whole may overflow.
    shares = (values[known] / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.zeros(int(known.sum()))
    codes[known] = np.rint(np.clip(shares, 0, 1) * most)
    return Quantised(codes, low, high)
