"""A network without the adapters that were swapped into it, with the same tensors."""

import copy

from torch import nn

from mtpeft.adapters import AdapterLayer
from mtpeft.adapters.layers import AdapterModule
from mtpeft.adapters.merged import plain_layer


def plain_copy(network: nn.Module) -> nn.Module:
    """A network of new modules that hold the very tensors of ``network``, without its adapters.

    Example:
        >>> from mtpeft.adapters import inject
        >>> net = nn.Sequential(nn.Linear(4, 4))
        >>> _ = inject(net, [dict(cfg=dict(type='LoRA', rank=1), targets=['0'])])
        >>> plain = plain_copy(net)
        >>> type(plain[0]) is nn.Linear, plain[0].weight is net[0].weight
        (True, True)
    """
    tensors = [*network.parameters(), *network.buffers()]
    new = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    for name, layer in list(new.named_modules()):
        if not isinstance(layer, AdapterLayer):
            continue
        owner, _, attribute = name.rpartition('.')
        if isinstance(layer, AdapterModule):
            layer.__class__ = type(layer).__bases__[1]
            del layer._modules['adapter']
        else:
            setattr(new.get_submodule(owner), attribute, plain_layer(layer, layer.weight))
    return new
