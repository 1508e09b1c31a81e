"""Activations that write over their input, for inference."""

from collections.abc import Iterator

import torch
from mmcv.cnn.bricks.transformer import FFN
from timm.layers import Mlp
from torch import Tensor, nn

from mtpeft.adapters import AdapterLayer
from mtpeft.ops.plain import plain_ops


class InPlaceGELU(nn.GELU):
    """GELU in the memory of its input, where no gradient is asked for.

    A CPU takes fresh memory from the system for every large map, which costs as much as GELU does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """GELU of a tensor that nobody else reads."""
        if torch.is_grad_enabled() and x.requires_grad or plain_ops():
            return super().forward(x)
        return torch.ops.aten.gelu_(x, approximate=self.approximate)


def plain_gelus(network: nn.Module) -> Iterator[tuple[str, nn.GELU]]:
    """Names of the GELUs that alone read the output of a plain Linear layer, in known MLPs."""
    for name, module in network.named_modules():
        first = act = None
        if type(module) is Mlp:
            first, act, place = module.fc1, module.act, 'act'
        elif type(module) is FFN and len(module.layers[0]) > 1:
            first, act, place = module.layers[0][0], module.layers[0][1], 'layers.0.1'
        plain = isinstance(first, nn.Linear) and not isinstance(first, AdapterLayer)
        if plain and type(act) is nn.GELU:
            yield f'{name}.{place}', act
