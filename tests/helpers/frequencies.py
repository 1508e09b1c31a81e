"""Tiny runs of models with frequencies, and what their frequencies do, in NumPy."""

from collections.abc import Mapping

import numpy as np
from helpers.engine import tiny
from mmengine.config import Config
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

SITES = [f'backbone.network.layers.{i}.blocks.0.mlp.fc2' for i in range(4)]
TASKS = ('semseg', 'depth')


def with_frequencies(
    base=None, clock: Mapping | None = None, decoder: bool = True, hook: Mapping | None = None,
    awb: Mapping | None = None, steps: int = 1, **options,
) -> Config:  # fmt: skip
    """The tiny config with Sine-AWB on a layer a stage, and a decoder on the same clock.

    It trains for three epochs of ``steps`` iterations.
    """
    adapter = dict(type='SineAWB', rank=3, task_rank=2, kernel_size=None, **(awb or {}))
    cfg = tiny(base, model__backbone__plugins=[dict(cfg=adapter, targets=['fc2'], lanes='task')],
               train_cfg__val_interval=10, train_dataloader__dataset__length=2 * steps,
               **options)  # fmt: skip
    cfg.model.backbone.clock = dict(clock or {})
    if decoder:
        cfg.model.decoder = dict(type='SharedBaseDecoder', channels=8, lowpass=True)
    if hook is not None:
        cfg.default_hooks.frequencies = dict(type='FrequencyHook', **hook)
    return cfg


def omegas(state: Mapping[str, Tensor], head: int = 0) -> dict[str, float]:
    """s (tanh(W_q ReLU(p)) + c) of each task."""
    w_q, s, c = (
        state[f'backbone.clock.heads.{head}.{n}'].double().numpy() for n in ('W_q', 's', 'c')
    )
    tokens = {task: state[f'backbone.clock.tokens.{task}'].double().numpy() for task in TASKS}
    return {task: s * (np.tanh(w_q @ np.maximum(p, 0)) + c) for task, p in tokens.items()}


def matrix(state: Mapping[str, Tensor], site: str) -> np.ndarray:
    """M ``(out, in)``."""
    if site == 'decoder':
        return state['decoder.base'].double().numpy()[:, :, 0, 0]
    a, w, b = (state[f'{site}.adapter.base_{n}'].double().numpy() for n in 'AWB')
    return b @ np.diag(w) @ a


def lowpass(weight: np.ndarray) -> np.ndarray:
    """Gaussian of sigma 1 and 7 taps along both axes, ends repeated."""
    for axis in (0, 1):
        weight = gaussian_filter1d(weight, 1.0, axis, mode='nearest', radius=3)
    return weight


def effective_rank(weight: np.ndarray) -> float:
    """exp of the entropy of the singular values."""
    sigma = np.linalg.svd(weight, compute_uv=False)
    if not sigma.any():
        return 0.0
    share = sigma[sigma > 1e-12 * sigma[0]] / sigma.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
