"""Any network with adapters, which gives what the network gives."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from mtpeft.adapters import AdapterLayer, inject
from mtpeft.adapters.lanes.current import new_pass, within
from mtpeft.adapters.lanes.on_map import needs_map
from mtpeft.adapters.lanes.passes import TaskPass
from mtpeft.adapters.merged import merge_layer
from mtpeft.adapters.plugins import Plugins, parse_plugins
from mtpeft.models.backbones.frozen_base import FrozenBase
from mtpeft.models.backbones.injection import make_commons, shared_modules
from mtpeft.models.backbones.networks import described, make_network
from mtpeft.models.backbones.parameters import train_named
from mtpeft.models.backbones.pretrained import load_exactly
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Merging, Swaps
from mtpeft.models.sharing import Sharing
from mtpeft.models.short_plugins import (
    Short,
    classifier_of,
    full_plugins,
    groups_of,
    only_read,
    roles_of,
)
from mtpeft.registry import MODELS
from mtpeft.utils.kinds import Network
from mtpeft.utils.requested import requested_tasks


@MODELS.register_module()
class AdaptedNetwork(Sharing, FrozenBase, Merging):
    """A frozen network of any kind with adapters, for a training loop of one's own.

    It is called as the network is and gives what the network gives. With ``tasks`` it gives a dict
    by task: the network runs once for each, with that task's adapters in place, so adapters whose
    lanes read a shared stream do not serve (MTLoRA, TADFormer). Levels for dense heads, with lanes
    in the last blocks only, come of :class:`~mtpeft.models.AdapterBackbone`.

    BatchNorm keeps its statistics. The fast path of ``nn.TransformerEncoderLayer`` reads weights
    past their layers, and is switched off where such a layer is adapted.

    Args:
        network: The network, which is changed in place; or its config, such as
            ``dict(type='timm.vit_tiny_patch16_224', pretrained=True, num_classes=10)``, whose
            weights :meth:`init_weights` loads. ``None``: of a file; a network has to be given.
        plugins: What goes where, see :func:`~mtpeft.models.short_plugins.full_plugins`.
        tasks: Names of tasks.
        train_also: What of the network is trained beside the adapters: parts of the names of
            parameters, ``'re:<expression>'``, or ``'biases'``. A classifier of timm whose number of
            classes the config sets is trained too.

    Attributes:
        adapted: Names of the adapted layers.

    Raises:
        ValueError: a pattern hits nothing, an adapter does not fit, or no layer has a task's.
        KeyError: an adapter or a model of timm is unknown; the nearest names are given.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        >>> model = AdaptedNetwork(net, dict(type='LoRA', rank=2))
        >>> model(torch.zeros(5, 8)).shape
        torch.Size([5, 3])
        >>> sorted(model.adapter_state_dict())[:2]
        ['network.0.adapter.A', 'network.0.adapter.B']
    """

    freeze = True

    def __init__(
        self,
        network: Network | nn.Module | None,
        plugins: Short | Plugins = 'lora',
        tasks: Sequence[str] | None = None,
        train_also: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if network is None:
            raise ValueError(
                'These adapters are for a network of your own, which their file does not hold. '
                'Give it: mtpeft.from_pretrained(..., base=network).'
            )
        self.network = make_network(network)
        self.base_cfg = described(network)
        live = isinstance(network, nn.Module)
        self.weights = 'given' if live else 'random'
        self.tasks = tuple(tasks or ())
        if 'num_classes' in self.base_cfg:
            train_also = [*train_also, *classifier_of(self.network)]
        full = full_plugins(plugins, self.network, self.tasks)
        self.given = dict(
            type='AdaptedNetwork', network=None if live else self.base_cfg, plugins=full,
            tasks=list(self.tasks), train_also=list(dict.fromkeys(train_also)),
        )  # fmt: skip
        self.network.requires_grad_(False)
        named = dict(self.network.named_parameters())
        train_named(named, train_also, groups_of(self.network), type(self.network).__name__)
        self.commons, self.adapted = self._swap_in(full)
        self._check_layers()
        _leave_fast_paths(self.network)
        self._seen: set[str] | None = set()
        self.train(self.network.training)
        if live:
            self.stand_on_given()

    def _swap_in(self, plugins: Sequence[Mapping]) -> tuple[nn.ModuleDict, list[str]]:
        parsed = parse_plugins(plugins, self.tasks)
        commons = make_commons(parsed, self.tasks)
        everywhere = [name for name, _ in self.network.named_children()]
        names = inject(
            self.network, parsed, roles_of(self.network), self.tasks, everywhere,
            shared=shared_modules(parsed, commons, None),
        )  # fmt: skip
        for name in names:
            self.network.get_submodule(name).weight.requires_grad_(False)
        return commons, names

    def _check_layers(self) -> None:
        """Refuse layers whose adapters would do nothing, or could not do what they are for."""
        lanes = False
        for name, layer in self.adapter_layers().items():
            if only_read(self.network, name):
                raise ValueError(
                    f"'{name}' lies in a MultiheadAttention, which reads its weight and calls no "
                    'layer: an adapter would have no effect. Name others, or exclude it.'
                )
            if not layer.adapter.tasks:
                continue
            lanes = True
            try:
                layer.adapter.without_shared()
            except ValueError:
                kind = type(layer.adapter).__name__
                raise ValueError(
                    f"'{name}': lanes of {kind} read a shared stream, and here each task passes "
                    "the network by itself. Take LoRA or DoRA, frozen_input='task' where the "
                    'method has it, or AdapterBackbone.'
                ) from None
            if needs_map(layer.adapter):
                raise ValueError(
                    f"'{name}': lanes of {type(layer.adapter).__name__} convolve over a map, which "
                    f'only AdapterBackbone knows; {layer.adapter.without_map} serves here.'
                )
        if self.tasks and not lanes:
            raise ValueError(
                f"tasks={list(self.tasks)}: no adapter differs between tasks. Set lanes='task' in "
                'a plugin, or leave tasks out.'
            )

    def init_weights(self) -> None:
        """Load the pretrained weights that the config of the network names.

        Raises:
            PretrainedWeightsError: they cannot be had or do not fit.
        """
        self.refuse_if_merged('Pretrained weights cannot be loaded')
        if self.weights != 'given':
            self.is_on_base(load_exactly(self.network, self.base_cfg))

    # -- forward -------------------------------------------------------------------------------

    def forward(self, *args: Any, tasks: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """What the network gives; a dict by task where there are tasks.

        Args:
            *args: As the network takes them.
            tasks: Names of the tasks that are wanted, all by default.
            **kwargs: As the network takes them.
        """
        with new_pass(), self._watched():
            if self.adapter_sets is not None and self.adapter_sets.chosen() is None:
                return self._frozen(args, kwargs)
            if not self.tasks:
                return self.network(*args, **kwargs)
            wanted = requested_tasks(tasks, self.tasks)
            layers = [la for la in self.adapter_layers().values() if la.adapter.tasks]
            params = {layer: layer.adapter.lane_slices(layer) for layer in layers}
            out = {}
            for task in wanted:
                with within(stream=TaskPass(params, [self.tasks.index(task)])):
                    out[task] = self.network(*args, **kwargs)
            return out

    def _frozen(self, args: tuple, kwargs: Mapping) -> Any:
        """The network without adapters, and with what was trained of it as it was."""
        start = {key.removeprefix('network.'): value for key, value in (self.start or {}).items()}
        with within(stream=_Frozen(set(self.adapter_layers().values()))):
            return functional_call(self.network, start, args, dict(kwargs))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Warn, behind the first pass, of adapted layers that no call came through."""
        seen = self._seen
        if seen is None or torch.compiler.is_compiling() or self.merged:
            yield
            return
        self._seen = None
        hooks = [
            layer.register_forward_hook(lambda *_, name=name: seen.add(name))
            for name, layer in self.adapter_layers().items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        idle = [name for name in self.adapted if name not in seen]
        if idle:
            warnings.warn(
                f'Adapters of {", ".join(idle[:4])}{" and more" if idle[4:] else ""} had no '
                f'effect: {type(self.network).__name__} did not call them in its first pass.',
                stacklevel=5,
            )

    def train(self, mode: bool = True) -> 'AdaptedNetwork':
        """Training mode; BatchNorm of the network keeps its statistics."""
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    # -- state ---------------------------------------------------------------------------------

    def adapter_layers(self) -> dict[str, AdapterLayer]:
        """Adapted layers by their name in the network."""
        layers = {name: self.network.get_submodule(name) for name in self.adapted}
        return {n: la for n, la in layers.items() if isinstance(la, AdapterLayer)}

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """What was trained: the state dict without the frozen network.

        ``load_state_dict`` takes it, and leaves the network as it is.
        """
        frozen = self.frozen_state_keys()
        return {key: value for key, value in self.state_dict().items() if key not in frozen}

    def load_adapter(self, name: str, source: Any, **options: Any) -> None:
        """Refused: sets of adapters are of models with an ``AdapterBackbone``.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"'{name}': an AdaptedNetwork has one set of adapters. Load another state dict into it "
            '(load_state_dict), or build a model on an AdapterBackbone, which has several.'
        )

    def _merge(self, swaps: Swaps, report: MergeReport, reversible: bool) -> None:
        for name, layer in self.adapter_layers().items():
            lanes = bool(layer.adapter.tasks)
            new, done, reason = merge_layer(layer, in_lane_block=False, has_shared=not lanes)
            report.add(name, type(layer.adapter).__name__, done, reason)
            if new is not None:
                swaps.put(self.network, name, new)

    def _root(self) -> nn.Module:
        return self.network


class _Frozen:
    """A pass in which adapted layers are the frozen ones."""

    def __init__(self, layers: set[AdapterLayer]) -> None:
        self.carries = layers

    def __call__(self, layer: AdapterLayer, x: Tensor) -> Tensor:
        return layer.frozen(x)


def _leave_fast_paths(network: nn.Module) -> None:
    """Let torch's encoder call its layers, where some are adapted, instead of reading weights."""
    for module in network.modules():
        if not any(isinstance(inner, AdapterLayer) for inner in module.modules()):
            continue
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerEncoder):
            module.enable_nested_tensor = module.use_nested_tensor = False
