"""F-measure of edges over thresholds, matched within a distance."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize
from torch import Tensor

from mtpeft.evaluation.functional.edge_nms import suppress_non_maxima
from mtpeft.evaluation.functional.pooling import Statistics


def edge_update(
    pred: Tensor, label: Tensor, valid: Tensor, thresholds: Sequence[float], max_dist: float,
    exact: bool = True,
) -> Statistics:  # fmt: skip
    """Matched and counted edge pixels of one picture at each threshold.

    The probabilities pass non-maximum suppression once; at each threshold what exceeds it is
    thinned to one pixel (scikit-image's ``skeletonize``), as is the label. Pixels match within
    ``max_dist`` times the picture's diagonal.

    Args:
        pred: Probabilities ``(H, W)``.
        label: 0 or 1, ``(H, W)``.
        valid: Boolean mask ``(H, W)``; predictions elsewhere count neither way.
        thresholds: K thresholds; an edge is a probability greater than one.
        max_dist: Largest distance of a match, as a share of the diagonal.
        exact: ``True``: one pixel matches at most one (maximum bipartite matching). ``False``: a
            pixel is matched when any pixel of the other side is near enough.

    Returns:
        ``(K,)`` counts ``claimed``, ``hits`` (predicted pixels matched), ``actual``, ``found``
        (label pixels matched), and ``best`` ``(4,)``: these four at the threshold with the
        picture's own best F.
    """
    mask = valid.cpu().numpy()
    truth = _thin((label.cpu().numpy() > 0) & mask)
    strength = suppress_non_maxima(pred.detach().cpu().float().numpy())
    strength[~mask] = 0
    radius = max_dist * float(np.hypot(*truth.shape))
    count = _OneToOne(truth, radius) if exact else _Nearby(truth, radius)

    counts = np.zeros((4, len(thresholds)), np.int64)
    counts[2] = truth.sum()
    last, pixels = None, -1
    for k in np.argsort(thresholds):
        above = strength > thresholds[k]
        # Equal pixel counts of nested sets mean equal sets: nothing to do again.
        if (n := int(above.sum())) != pixels:
            pixels, thin = n, _thin(above)
            last = (thin.sum(), *count(thin))
        counts[[0, 1, 3], k] = last
    best = int(np.argmax(_f_measure(*counts)))
    claimed, hits, actual, found = torch.from_numpy(counts)
    return dict(
        claimed=claimed, hits=hits, actual=actual, found=found,
        best=torch.from_numpy(counts[:, best].copy()),
    )  # fmt: skip


def _thin(mask: np.ndarray) -> np.ndarray:
    # scikit-image drops axes of length 1.
    return skeletonize(np.pad(mask, 1))[1:-1, 1:-1]


class _Nearby:
    """Pixels of either side with any pixel of the other within ``radius``."""

    def __init__(self, truth: np.ndarray, radius: float) -> None:
        self.truth = truth
        self.near = distance_transform_edt(~truth) <= radius if truth.any() else truth
        reach = int(radius)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        # Dilation by a disk answers "distance <= radius" like a distance transform, but faster.
        self.disk = (x**2 + y**2 <= radius**2).astype(np.uint8)

    def __call__(self, thin: np.ndarray) -> tuple[int, int]:
        reached = cv2.dilate(thin.astype(np.uint8), self.disk).astype(bool)
        return int((thin & self.near).sum()), int((self.truth & reached).sum())


class _OneToOne:
    """Size of a maximum matching between both sides' pixels within ``radius``."""

    def __init__(self, truth: np.ndarray, radius: float) -> None:
        self.points = np.argwhere(truth)
        self.tree = cKDTree(self.points) if len(self.points) else None
        self.radius = radius

    def __call__(self, thin: np.ndarray) -> tuple[int, int]:
        points = np.argwhere(thin)
        if self.tree is None or not len(points):
            return 0, 0
        pairs = cKDTree(points).sparse_distance_matrix(
            self.tree, self.radius, output_type='ndarray'
        )
        matched = _maximum_matching(len(points), len(self.points), pairs['i'], pairs['j'])
        return matched, matched


def _maximum_matching(left: int, right: int, i: np.ndarray, j: np.ndarray) -> int:
    """Size of a maximum matching of a bipartite graph with edges ``(i, j)``.

    Solved as a flow of unit capacities: SciPy's own matching takes up to half a minute on some of
    these graphs, its maximum flow milliseconds on all.
    """
    source, sink = left + right, left + right + 1
    rows = np.concatenate([np.full(left, source), i, np.arange(left, source)])
    columns = np.concatenate([np.arange(left), j + left, np.full(right, sink)])
    capacity = np.ones(len(rows), np.int32)
    graph = csr_matrix((capacity, (rows, columns)), shape=(sink + 1, sink + 1))
    return int(maximum_flow(graph, source, sink, method='dinic').flow_value)


def _f_measure(
    claimed: np.ndarray, hits: np.ndarray, actual: np.ndarray, found: np.ndarray
) -> np.ndarray:
    precision = np.where(claimed > 0, hits / np.maximum(claimed, 1), 1.0)
    recall = np.where(actual > 0, found / np.maximum(actual, 1), 1.0)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def edge_compute(pooled: Statistics) -> dict[str, float]:
    """F at the set's best threshold, and with each picture's own.

    ``F = 2 P R / (P + R)``, P and R from the counts summed over pictures, as in the published
    benchmark: in a picture without an edge whatever is predicted is wrong, and an empty prediction
    counts neither way. Nothing predicted is P = 1. A set without any edge has nothing to find, so
    no recall and no F.

    Args:
        pooled: The sum of :func:`edge_update`.

    Returns:
        ``odsF`` (one threshold for the set) and ``oisF`` (each picture's best), in percent; nothing
        where no picture has an edge.
    """
    if not pooled['actual'].any():
        return {}
    keys = ('claimed', 'hits', 'actual', 'found')
    ods = _f_measure(*(pooled[key].cpu().numpy() for key in keys)).max()
    ois = _f_measure(*pooled['best'].cpu().numpy())
    return dict(odsF=100 * float(ods), oisF=100 * float(ois))
