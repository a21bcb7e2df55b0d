"""Statistics of samples of jets: intervals and resampling."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""Weights (R, N) of R samples -> R values, each of the statistic's own shape."""
