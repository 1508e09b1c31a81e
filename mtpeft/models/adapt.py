"""Adapters on a network of one's own, in one call."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from mtpeft.models.adapted_network import AdaptedNetwork
from mtpeft.models.backbones.networks import TIMM
from mtpeft.models.short_plugins import Short
from mtpeft.utils.details import without_reports


def adapt(
    network: nn.Module | str,
    plugins: Short = 'lora',
    tasks: Sequence[str] | None = None,
    train_also: Sequence[str] = (),
    pretrained: bool = True,
    **options: Any,
) -> AdaptedNetwork:
    """Freeze a network and swap adapters into it.

    The result is called as the network is. Parameters with ``requires_grad`` are those to train.

    Args:
        network: A network, which is changed in place; or the name of a model of timm.
        plugins: ``'lora'``, ``dict(type='DoRA', rank=8, targets=['fc1'])``, or a list of such.
            Without ``targets`` adapters go to attention and MLP of known networks, else to all
            Linear layers but the classifier. See :func:`~mtpeft.models.short_plugins.full_plugins`.
        tasks: Names of tasks: each has adapters of its own, and the result gives a dict by task.
        train_also: What else of the network is trained, by parts of names such as ``'head'``.
        pretrained: Whether a model of timm has its pretrained weights, which may be fetched.
        **options: Of ``timm.create_model``, such as ``num_classes``, whose classifier is trained.

    Raises:
        KeyError: an adapter or a model is unknown; the nearest names are given.
        ValueError: a pattern hits nothing, or an adapter does not fit.
        PretrainedWeightsError: the pretrained weights cannot be had.

    Example:
        >>> import torch
        >>> model = adapt('test_vit', pretrained=False, num_classes=5)
        >>> model(torch.zeros(2, 3, 160, 160)).shape
        torch.Size([2, 5])
    """
    if isinstance(network, nn.Module):
        if options:
            raise TypeError(
                f'{", ".join(options)}: options of timm, for a network that is named, got '
                f'{type(network).__name__}.'
            )
        return AdaptedNetwork(network, plugins, tasks, train_also)
    cfg = dict(type=f'{TIMM}{network.removeprefix(TIMM)}', pretrained=pretrained, **options)
    model = AdaptedNetwork(cfg, plugins, tasks, train_also)
    with without_reports():
        model.init_weights()
    return model
