"""Agreement of a mask with the truth."""

import numpy as np
from numpy.typing import NDArray


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """``2 |A and B| / (|A| + |B|)``; nan where both are empty, so that an absent object is not scored."""
    total = np.count_nonzero(mask) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(mask & truth) / total if total else float("nan")
