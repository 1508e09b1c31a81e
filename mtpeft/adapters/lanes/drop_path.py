"""Stochastic depth in blocks with lanes."""

import torch
from torch import Tensor, nn

from mtpeft.adapters.lanes.current import now


class LaneDropPath(nn.Module):
    """Stochastic depth per sample, free of in-place random numbers (which vmap refuses).

    Args:
        drop_prob: Probability to drop a sample's path in training.
        scale_by_keep: Divide what is kept by the probability to keep it.
    """

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.scale_by_keep = scale_by_keep

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.drop_prob == 0:
            return x
        if now.stream is not None:
            # (told here, since a hook would break the graphs of torch.compile)
            now.stream.diverged = True
        keep = 1 - self.drop_prob
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        mask = (torch.rand(shape, device=x.device) < keep).to(x.dtype)
        return x * (mask / keep if self.scale_by_keep and keep > 0 else mask)


def replace_drop_path(block: nn.Module) -> None:
    """Swap every DropPath, of timm or of mmcv, for :class:`LaneDropPath` inside ``block``."""
    for module in list(block.modules()):
        for name, child in module.named_children():
            # by name: mmcv is needed for its own networks only
            if type(child).__name__ == 'DropPath' and hasattr(child, 'drop_prob'):
                new = LaneDropPath(child.drop_prob, getattr(child, 'scale_by_keep', True))
                setattr(module, name, new.train(child.training))
