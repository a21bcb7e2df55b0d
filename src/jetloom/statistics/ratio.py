"""Ratios of sums over jets, as ``metrics.json`` holds them."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri


def ratio(value: NDArray[np.float64], number: NDArray[np.float64], confidence: float) -> dict[str, float]:
    """sum(value) / sum(number) over jets, with the normal interval of a ratio whose jets are independent."""
    total = max(float(number.sum()), 1e-300)
    middle = float(value.sum()) / total
    residual = value - middle * number
    error = float(ndtri((1 + confidence) / 2) * np.sqrt((residual**2).sum())) / total
    return {"value": middle, "low": middle - error, "high": middle + error}


def exact(value: float) -> dict[str, float]:
    """A figure of all the jets together, of which no interval is known."""
    return {"value": value, "low": value, "high": value}
