"""A frozen backbone of any family with adapters and task lanes."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mtpeft.adapters import Adapter, AdapterLayer
from mtpeft.adapters.formed_once import prepared
from mtpeft.adapters.lanes.current import new_pass
from mtpeft.adapters.plugins import Plugins
from mtpeft.models.backbones.families import GenericFamily, family_of
from mtpeft.models.backbones.frozen_base import FrozenBase
from mtpeft.models.backbones.injection import adapt_network
from mtpeft.models.backbones.networks import build_network, described, one_network
from mtpeft.models.backbones.parameters import (
    adapter_table,
    components_of,
    set_trainable,
    unread_parameters,
)
from mtpeft.models.backbones.pretrained import load_pretrained, names_weights
from mtpeft.models.backbones.prompts import PromptOptions, make_token_stream
from mtpeft.models.backbones.streams import Streams, streams_class
from mtpeft.models.backbones.streams.tokens import TokenStream
from mtpeft.models.merging.backbone import merge_network, merged_state_dict
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Merging, Swaps
from mtpeft.registry import MODELS
from mtpeft.utils.details import log_detail
from mtpeft.utils.kinds import Clock, Network
from mtpeft.utils.requested import requested_tasks
from mtpeft.utils.suggest import hint
from mtpeft.utils.torch_private import wrap_compiled

_TAPS = ('post_merge', 'pre_merge')


@MODELS.register_module()
class AdapterBackbone(FrozenBase, Merging, BaseModule):
    """A frozen backbone, adapters swapped in by pattern, and one stream a task.

    With ``streams='stage'``, blocks before the last of each stage serve all tasks at once. The last
    block runs for the shared stream and, where a plugin has ``lanes='task'``, once per task
    (:mod:`mtpeft.adapters.lanes.block`); only the shared stream enters the next stage. With
    ``streams='network'`` every task has a stream of its own from the first block on that has task
    parameters (:mod:`mtpeft.models.backbones.streams.network`).

    Args:
        backbone: The network: ``dict(type='timm.<model name>', pretrained=..., **options)`` or
            ``dict(type='mmseg.<backbone>', ...)``, or one that is there. For ``pretrained``, which
            :meth:`init_weights` loads, see
            :func:`~mtpeft.models.backbones.pretrained.load_pretrained`.
        plugins: Adapters by pattern, each ``dict(cfg=dict(type='LoRA', rank=16),
            targets=['qkv', 'fc1'], lanes='shared'|'task', exclude=[...])``, in a list or in a
            dict of names (:func:`~mtpeft.adapters.plugins.parse_plugins`).
        tasks: Names of the tasks. The output is ``{task: levels}``; without tasks, ``levels``.
        tap: Where a level is taken: ``'post_merge'`` (after the stage's patch merging; the default
            with tasks, as published) or ``'pre_merge'`` (the default without).
        train_also: What of the network is trained beside the adapters: groups of the family
            (``'block_norms'``, ``'relative_position_bias_table'``, ``'patch_embed'``,
            ``'reduction'``), ``'biases'`` (all of them: BitFit, arXiv 2106.10199), parts of
            parameter names, or ``'re:<expression>'``.
        freeze: ``False`` trains the whole network.
        streams: ``'stage'``: lanes are in the last block of each stage only. ``'network'``: plugins
            with ``lanes='task'`` have task parameters in every layer they hit, and no shared path.
        lane_strategy: ``'vmap'`` (default), ``'fold'`` or ``'loop'``; with ``streams='network'``
            ``'fold'`` (default) or ``'loop'``.
        with_cp: Recompute each block in the backward pass to save memory. A network without a
            family does so by itself (timm's gradient checkpointing), or refuses.
        clock: Config of the :class:`~mtpeft.adapters.ClockNet` that adapters with frequencies
            share, such as ``dict(tokens='prepend')``. Default: one with free tokens where a plugin
            needs it.
        prompts: Prompts that all tasks share, ``dict(number=10, deep=False)``, see
            :class:`~mtpeft.models.backbones.prompts.PromptStream` (VPT).
        network: A network that is there, which is changed; in place of ``backbone``.
        init_cfg: As in mmengine.

    Attributes:
        out_channels: Channels of the levels.
        strides: Strides of the levels.
        size_divisor: Pictures with sides divisible by this need no padding inside.
        clock: The ClockNet, ``None`` without.
        commons: Modules that the adapters of one plugin share across layers, by the plugin's place.
        token_stream: What takes task tokens or prompts through the network, ``None`` without.

    Raises:
        ValueError: a pattern hits nothing, an option is unknown, or the family has no lanes.

    Shapes:
        Input ``(B, 3, H, W)``, any H and W. Levels ``(B, C_i, H / s_i, W / s_i)``.

    Example:
        >>> import torch
        >>> net = AdapterBackbone(
        ...     dict(type='timm.swin_tiny_patch4_window7_224', embed_dim=8, depths=(1, 1, 1, 1),
        ...          num_heads=(1, 1, 2, 2)),
        ...     plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=['fc1'], lanes='task')],
        ...     tasks=['semseg', 'depth'])
        >>> levels = net(torch.zeros(1, 3, 64, 64))
        >>> [tuple(x.shape[1:]) for x in levels['depth']]
        [(16, 8, 8), (32, 4, 4), (64, 2, 2), (64, 2, 2)]
    """

    #: lanes that convolve get their map wherever they are
    gives_maps = False

    def __init__(
        self,
        backbone: Network | nn.Module | None = None,
        plugins: Plugins = (),
        tasks: Sequence[str] | None = None,
        tap: Literal['post_merge', 'pre_merge'] | None = None,
        train_also: Sequence[str] = (),
        freeze: bool = True,
        streams: Literal['stage', 'network'] = 'stage',
        lane_strategy: Literal['vmap', 'fold', 'loop'] | None = None,
        with_cp: bool = False,
        clock: Clock | None = None,
        prompts: PromptOptions | None = None,
        network: nn.Module | None = None,
        init_cfg: Mapping | None = None,
    ) -> None:
        super().__init__(init_cfg)
        tap = tap or ('post_merge' if tasks else 'pre_merge')
        if tap not in _TAPS:
            raise ValueError(f"tap='{tap}' is unknown. " + hint(tap, _TAPS))
        kind = streams_class(streams)
        strategy = kind.strategy(lane_strategy)
        self.base_cfg = described(backbone := one_network(backbone, network))
        self.tasks = tuple(tasks) if tasks else ()
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f'Task names must differ, got {list(self.tasks)}.')
        self.tap, self.freeze = tap, freeze
        self.weights = 'given' if isinstance(backbone, nn.Module) else 'random'
        self.network = build_network(backbone)
        self.family = family_of(self.network)
        self._check_family()
        set_trainable(self.network, self.family, tap, train_also, freeze)
        self.clock, self.commons, self.adapted = adapt_network(
            self.network,
            self.family,
            plugins,
            self.tasks,
            kind.places(self.family),
            clock,
            freeze,
            lanes_alone=not kind.shares,
            maps_everywhere=self.gives_maps,
        )
        self.token_stream = self._make_token_stream(prompts)
        self.streams = self._make_streams(kind, strategy, with_cp)
        self.out_channels, self.strides = self.family.widths_and_strides(tap == 'post_merge')
        self.size_divisor = self.family.size_divisor
        self._tell_adapters()
        if self.weights == 'given':
            self.stand_on_given()

    # -- construction --------------------------------------------------------------------------

    def _tell_adapters(self) -> None:
        if self.adapted:
            table = adapter_table(self.adapter_layers(), self.commons, self.lanes and self.tasks)
            log_detail(table)

    def _check_family(self) -> None:
        """Subclasses that cannot do with every family refuse here."""

    def _make_token_stream(self, prompts: Mapping | None) -> TokenStream | None:
        return make_token_stream(self.network, self.family, self.clock, prompts)

    def _make_streams(self, kind: type[Streams], strategy: str, with_cp: bool) -> Streams:
        options = dict(tokens=self.token_stream, with_cp=with_cp)
        return kind(self.network, self.family, self.tasks, self.tap, strategy, **options)

    @property
    def lanes(self) -> dict[str, Any]:
        """Blocks (and mergings) with task parameters, by name."""
        return self.streams.lanes

    @property
    def with_cp(self) -> bool:
        """Is each block computed again in the backward pass?"""
        return self.streams.with_cp

    @with_cp.setter
    def with_cp(self, value: bool) -> None:
        self.streams.with_cp = value

    def init_weights(self) -> None:
        """Load the pretrained weights and let adapters start from them.

        Raises:
            PretrainedWeightsError: they cannot be had or do not fit.
        """
        self.refuse_if_merged('Pretrained weights cannot be loaded')
        if self.weights != 'given' or names_weights(self.base_cfg):
            self.is_on_base(load_pretrained(self.network, self.family, self.base_cfg))

    # -- forward -------------------------------------------------------------------------------

    def forward(
        self, x: Tensor, tasks: Sequence[str] | None = None, unreduced: bool = False
    ) -> dict[str, tuple[Tensor, ...]] | tuple[Tensor, ...]:
        """Levels of the picture ``(B, 3, H, W)``, one tuple a task, or one tuple.

        Args:
            x: The picture.
            tasks: Names of the tasks that are wanted, all by default; lanes of others, and the
                merging of their streams, are not computed.
            unreduced: Who reads the levels takes those of lanes before the linear map of their
                patch merging, as :class:`~mtpeft.structures.levels.Unreduced`, where that is
                cheaper.

        Raises:
            KeyError: an unknown task.
        """
        wanted = requested_tasks(tasks, self.tasks, 'The backbone')
        with new_pass():
            if isinstance(self.family, GenericFamily):
                levels = self.family.features(self.network, x)
                return dict.fromkeys(wanted, levels) if self.tasks else levels
            x = self.family.start(self.network, x)
            return self.streams.levels(x, wanted, unreduced)

    def train(self, mode: bool = True) -> 'AdapterBackbone':
        """Training mode; BatchNorm keeps its pretrained statistics while the base is frozen.

        Inside lane blocks it keeps them always: vmap cannot update them for several tasks.
        """
        super().train(mode)
        keep = [self.network] if self.freeze else [lane.block for lane in self.lanes.values()]
        for root in keep:
            for module in root.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As ``nn.Module.compile``; adapters renew what they keep of weights before each pass."""
        super().compile(*args, **kwargs)
        wrap_compiled(self, self._prepared)

    def _prepared(self) -> AbstractContextManager:
        return prepared((la, la.adapter) for la in self.adapter_layers().values())

    # -- what others ask -----------------------------------------------------------------------

    def adapter_layers(self) -> dict[str, AdapterLayer]:
        """Adapted layers by their name in the network."""
        layers = {name: self.network.get_submodule(name) for name in self.adapted}
        return {n: la for n, la in layers.items() if isinstance(la, AdapterLayer)}

    def unused_parameter_names(self) -> list[str]:
        """Trainable parameters whose effect nobody reads, as published designs have them.

        The shared stream of the last stage's lane block ends there, so shared adapters behind the
        last layer that a lane reads have no effect. They are kept (and counted) and get no
        gradient; a gradient reducer must not wait for them.
        """
        layers = self.adapter_layers().values()
        unused = unread_parameters(layers, self.idle_adapters(), self.commons, self.clock)
        return [n for n, p in self.named_parameters() if id(p) in unused]

    def idle_adapters(self) -> list[Adapter]:
        """Adapters whose shared path nobody reads: of the last stage's lane block, at its end."""
        return self.streams.idle_adapters()

    def parameter_components(self) -> dict[str, list[str]]:
        """Component -> names of this module's parameters in it."""
        return components_of(self)

    def merged_state_dict(self, task: str | None = None) -> dict[str, Tensor]:
        """Weights of the plain network with every adapter merged in.

        Args:
            task: ``None``: the shared path of every adapter. With ``streams='network'``: whose
                network.

        Raises:
            NotMergeableError: an adapter is no change of its weight alone, task tokens or prompts
                go through the network, or no such stream passes the whole network.
            KeyError: an unknown task.
        """
        self.refuse_if_merged('merged_state_dict() merges by itself')
        return merged_state_dict(self.network, self.adapter_layers(), self.streams, task)

    def _merge(self, swaps: Swaps, report: MergeReport, reversible: bool) -> None:
        layers = self.adapter_layers()
        merge_network(self.network, layers, self.streams, swaps, report, self.forward)

    def _root(self) -> nn.Module:
        return self.network

    def _after_unmerging(self) -> None:
        self.streams.find_layers()
