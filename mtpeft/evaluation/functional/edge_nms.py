"""Non-maximum suppression of edge probabilities."""

import numpy as np
from scipy.ndimage import map_coordinates
from skimage.feature import structure_tensor

_SIGMA = 1.5
_REACH = 2
_SLACK = 1.01


def suppress_non_maxima(strength: np.ndarray) -> np.ndarray:
    """Set to 0 what is exceeded by a neighbour across the edge.

    The direction across an edge is the dominant one of the structure tensor (the gradients'
    products, averaged with a Gaussian of sigma 1.5 pixels). A value survives where, times 1.01,
    it reaches its (bilinearly interpolated) neighbours one and two pixels away to both sides.
    Plateaus survive whole; they are left to thinning.

    Args:
        strength: ``(H, W)``, not negative.

    Returns:
        ``(H, W)``: the surviving values, 0 elsewhere.
    """
    strength = np.asarray(strength, np.float32)
    # Padded, for scikit-image refuses axes of length 1.
    padded = np.pad(strength, 1, mode='edge')
    rr, rc, cc = (
        component[1:-1, 1:-1]
        for component in structure_tensor(padded, sigma=_SIGMA, mode='nearest', order='rc')
    )
    # Its dominant eigenvector.
    across = 0.5 * np.arctan2(2 * rc, cc - rr)
    dy, dx = np.sin(across), np.cos(across)
    rows, columns = np.indices(strength.shape)
    kept = strength > 0
    for step in range(-_REACH, _REACH + 1):
        if step:
            there = [rows + step * dy, columns + step * dx]
            kept &= strength * _SLACK >= map_coordinates(strength, there, order=1, mode='nearest')
    return np.where(kept, strength, 0)
