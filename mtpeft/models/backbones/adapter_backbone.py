"""A frozen backbone of any family with adapters and task lanes."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mtpeft.adapters import Adapter, AdapterLayer, AdapterModule, LaneBlock
from mtpeft.adapters.lanes.task_streams import TaskStreamBlock
from mtpeft.adapters.plugins import Plugins, parse_plugins
from mtpeft.models.backbones.clocks import make_clock
from mtpeft.models.backbones.families import COMMON_GROUPS, GenericFamily, Stage, family_of
from mtpeft.models.backbones.families.swin_parts import BehindAttention
from mtpeft.models.backbones.injection import (
    ends_with,
    inject_adapters,
    make_commons,
    shared_modules,
    unread_in_commons,
)
from mtpeft.models.backbones.merging import merged_state_dict
from mtpeft.models.backbones.networks import build_network
from mtpeft.models.backbones.parameters import adapter_table, backbone_components
from mtpeft.models.backbones.pretrained import load_pretrained
from mtpeft.models.backbones.prompts import make_token_stream
from mtpeft.models.backbones.streams.network import check_streams, lane_places, network_levels
from mtpeft.models.backbones.streams.network import lane_strategy as get_strategy
from mtpeft.models.backbones.streams.stage import each, stage_levels
from mtpeft.models.backbones.streams.tokens import TokenStream
from mtpeft.models.merging.backbone import merge_backbone, unmerge_backbone
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Merging
from mtpeft.registry import MODELS
from mtpeft.utils.requested import requested_tasks
from mtpeft.utils.suggest import hint

_TAPS = ('post_merge', 'pre_merge')


@MODELS.register_module()
class AdapterBackbone(Merging, BaseModule):
    """A frozen backbone, adapters swapped in by pattern, and one stream a task.

    With ``streams='stage'``, blocks before the last of each stage serve all tasks at once. The last
    block runs for the shared stream and, where a plugin has ``lanes='task'``, once per task
    (:mod:`mtpeft.adapters.lanes.block`); only the shared stream enters the next stage. With
    ``streams='network'`` every task has a stream of its own from the first block on that has task
    parameters (:mod:`mtpeft.models.backbones.streams.network`).

    Args:
        backbone: The network: ``dict(type='timm.<model name>', pretrained=..., **options)`` or
            ``dict(type='mmseg.<backbone>', ...)``. See
            :func:`~mtpeft.models.backbones.pretrained.load_pretrained` for ``pretrained``;
            weights are loaded in :meth:`init_weights`, building needs no network.
        plugins: Adapters by pattern, each ``dict(cfg=dict(type='LoRA', rank=16),
            targets=['qkv', 'fc1'], lanes='shared'|'task', exclude=[...])``, in a list or in a
            dict of names (:func:`~mtpeft.adapters.plugins.parse_plugins`).
        tasks: Names of the tasks. With them the output is ``{task: levels}``; without, a plain
            tuple of levels, as any mmseg decode head expects.
        tap: Where a level is taken: ``'post_merge'`` (after the stage's patch merging; the
            published multi-task protocol) or ``'pre_merge'``. Default: ``'post_merge'`` with
            tasks, ``'pre_merge'`` without.
        train_also: What of the network is trained beside the adapters: groups of the family
            (``'block_norms'``, ``'relative_position_bias_table'``, ``'patch_embed'``,
            ``'reduction'``), ``'biases'`` (all of them: BitFit, arXiv 2106.10199), parts of
            parameter names, or ``'re:<expression>'``.
        freeze: ``False`` trains the whole network.
        streams: ``'stage'``: lanes live in the last block of each stage and leave there.
            ``'network'``: plugins with ``lanes='task'`` have task parameters in every layer they
            hit, and no shared path there.
        lane_strategy: ``'vmap'`` (default), ``'fold'`` or ``'loop'``; with ``streams='network'``
            ``'fold'`` (default) or ``'loop'``.
        with_cp: Recompute each block in the backward pass to save memory.
        clock: Config of the :class:`~mtpeft.adapters.ClockNet` that adapters with frequencies
            share, such as ``dict(tokens='prepend')``. Default: one with free tokens where a plugin
            needs it.
        prompts: Prompts that all tasks share, ``dict(number=10, deep=False)``, see
            :class:`~mtpeft.models.backbones.prompts.PromptStream` (VPT).
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
        backbone: Mapping,
        plugins: Plugins = (),
        tasks: Sequence[str] | None = None,
        tap: str | None = None,
        train_also: Sequence[str] = (),
        freeze: bool = True,
        streams: str = 'stage',
        lane_strategy: str | None = None,
        with_cp: bool = False,
        clock: Mapping | None = None,
        prompts: Mapping | None = None,
        init_cfg: Mapping | None = None,
    ) -> None:
        super().__init__(init_cfg)
        tap = tap or ('post_merge' if tasks else 'pre_merge')
        if tap not in _TAPS:
            raise ValueError(f"tap='{tap}' is unknown. " + hint(tap, _TAPS))
        strategy = get_strategy(streams, lane_strategy)
        self.base_cfg = dict(backbone)
        self.tasks = tuple(tasks) if tasks else ()
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f'Task names must differ, got {list(self.tasks)}.')
        self.tap = tap
        self.streams = streams
        self.freeze = freeze
        self.with_cp = with_cp
        self.weights = 'random'
        self.network = build_network(backbone)
        self.family = family_of(self.network)
        self._check_family()
        self._set_trainable(train_also)
        plugins = parse_plugins(plugins, self.tasks)
        self.clock = make_clock(clock, plugins, self.tasks, self.family)
        self.commons = make_commons(plugins, self.tasks)
        self.adapted = inject_adapters(
            self.network,
            self.family,
            plugins,
            self.tasks,
            lane_places(self.family, streams),
            shared=shared_modules(plugins, self.commons, self.clock),
            freeze=freeze,
            lanes_alone=streams == 'network',
            maps_everywhere=self.gives_maps,
        )
        self._tell_layers()
        self.token_stream = self._make_token_stream(prompts)
        self.lanes = self._make_lanes(strategy)
        check_streams(self)
        stages = self.family.stages
        post = tap == 'post_merge'
        self.out_channels = tuple(s.merged_channels if post else s.channels for s in stages)
        self.strides = tuple(s.stride * (2 if post and s.merge else 1) for s in stages)
        self.size_divisor = self.family.size_divisor
        if self.adapted:
            print_log(adapter_table(self), logger='current')

    # -- construction --------------------------------------------------------------------------

    def _check_family(self) -> None:
        """Subclasses that cannot do with every family refuse here."""

    def _make_token_stream(self, prompts: Mapping | None) -> TokenStream | None:
        return make_token_stream(self.network, self.family, self.clock, prompts)

    def _set_trainable(self, train_also: Sequence[str]) -> None:
        self.network.requires_grad_(False)
        parameters = {  # those with an effect: a final norm or a classifier has none
            name: parameter
            for name, parameter in self.network.named_parameters()
            if not name.startswith(self._unread)
        }
        for parameter in parameters.values():
            parameter.requires_grad_(not self.freeze)
        for pattern in train_also:
            hits = [n for n in parameters if self._matches(n, pattern)]
            if not hits:
                raise ValueError(
                    f"train_also: '{pattern}' matches no parameter of "
                    f'{type(self.network).__name__}. '
                    + hint(pattern, [*self._groups, *_pieces(parameters)])
                )
            for name in hits:
                parameters[name].requires_grad_(True)

    @property
    def _groups(self) -> dict[str, str]:
        return {**COMMON_GROUPS, **self.family.groups}

    @property
    def _unread(self) -> tuple[str, ...]:
        """Prefixes of modules that no level passes; norms of un-merged outputs where merged."""
        norms = [f'{s.out_norm}.' for s in self.family.stages if s.out_norm]
        return (*self.family.unread, *(norms if self.tap == 'post_merge' else ()))

    def _matches(self, name: str, pattern: str) -> bool:
        if pattern in self._groups:
            return re.fullmatch(self._groups[pattern], name) is not None
        if pattern.startswith('re:'):
            return re.fullmatch(pattern[3:], name) is not None
        return f'.{pattern}.' in f'.{name}.'

    def _make_lanes(self, strategy: str) -> dict[str, LaneBlock]:
        """Lane blocks by name, for the blocks (and mergings) that hold task adapters."""
        lanes, merges = {}, {stage.merge for stage in self.family.stages}
        kind = LaneBlock if self.streams == 'stage' else TaskStreamBlock
        for name in lane_places(self.family, self.streams):
            block = self.network.get_submodule(name)
            run = self.family.run_merge if name in merges else self.family.run_block
            if any(isinstance(m, AdapterLayer) and m.adapter.tasks for m in block.modules()):
                in_place = self._modified_in_place(block)
                lanes[name] = kind(
                    block, self.tasks, run, strategy, in_place, self._behind_attention(name)
                )
        return lanes

    def _behind_attention(self, name: str) -> BehindAttention | None:
        known = self.family.parts is not None and self.streams == 'stage'
        # tokens in the windows would have to be taken out again
        if not known or self.token_stream is not None:
            return None
        block = self.network.get_submodule(name)
        # lanes beside a module start from its input
        if any(isinstance(m, AdapterModule) for m in block.modules()):
            return None
        return BehindAttention(self.family.parts(block))

    def _modified_in_place(self, block: nn.Module) -> list[str]:
        ending = self.family.modified_in_place
        return [name for name, _ in block.named_modules() if ends_with(name, ending)]

    def _tell_layers(self) -> None:
        known = not isinstance(self.family, GenericFamily)
        changed = self._modified_in_place(self.network)
        for name, layer in self.adapter_layers().items():
            layer.output_stays = known and name not in changed

    def init_weights(self) -> None:
        """Load the pretrained weights and let adapters start from them.

        Raises:
            PretrainedWeightsError: they cannot be had or do not fit.
        """
        self.refuse_if_merged('Pretrained weights cannot be loaded')
        self.weights = load_pretrained(self.network, self.family, self.base_cfg)
        for layer in self.adapter_layers().values():
            layer.adapter.reset_from_weight(layer)
        self._is_init = True

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
        if isinstance(self.family, GenericFamily):
            levels = self.family.features(self.network, x)
            return dict.fromkeys(wanted, levels) if self.tasks else levels
        x = self.family.stem(self.network, _pad(x, self.family.patch_size))
        if self.streams == 'network':
            return network_levels(self, x, wanted)
        return stage_levels(self, x, wanted, unreduced)

    def _run_block(
        self,
        name: str,
        x: Tensor,
        tokens: Tensor | None,
        size: tuple[int, int],
        tasks: Sequence[int] | None = None,
    ) -> tuple[Tensor | tuple[Tensor, Tensor], Tensor | None]:
        """One block, with lanes or without: ``x`` or ``(x, lanes)``, and the tokens after it."""
        block, lane = self.network.get_submodule(name), self.lanes.get(name)
        run = partial(lane, tasks=tasks) if lane else partial(self.family.run_block, block)
        last = name == self.family.stages[-1].blocks[-1]
        if lane and last and self.streams == 'stage' and self.token_stream is None:
            run = partial(run, shared=False)
        for layer in lane.layers.values() if lane else ():
            if layer.adapter.needs_map:
                layer.adapter.set_map(size, self.family.prefix_tokens)
        if self.token_stream is not None:
            x, tokens = self.token_stream.before(name, x, tokens)
        if tokens is None:
            return self._call(run, x), None
        copies = lane.copies(tasks) if lane else 1
        return self._call(
            lambda x, tokens: self.token_stream.run(run, block, x, tokens, copies, last), x, tokens
        )

    def _normed(self, stage: Stage, streams: list[Tensor]) -> list[Tensor]:
        """mmseg normalises outputs that were not merged."""
        if self.tap == 'post_merge' or stage.out_norm is None:
            return streams
        return each(self.network.get_submodule(stage.out_norm), streams)

    def _call(self, function, *inputs: Tensor):
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(function, *inputs, use_reentrant=False)
        return function(*inputs)

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
        graph = self._compiled_call_impl

        def prepared(*inputs: Any, **options: Any) -> Any:
            layers = self.adapter_layers().values()
            try:
                for layer in layers:
                    layer.adapter.prepare(layer)
                return graph(*inputs, **options)
            finally:
                for layer in layers:
                    layer.adapter.prepared = False

        self._compiled_call_impl = prepared

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
        idle = self.idle_adapters()
        unused = {
            id(adapter.get_parameter(name))
            for adapter in idle
            for names in adapter.shared_parameters.values()
            for name in names
        }
        layers = self.adapter_layers().values()
        unused |= {id(p) for p in unread_in_commons(layers, self.commons.values(), idle)}
        if self.clock is not None and not self.clock.sites:
            # nobody asks for a frequency; tokens count where they go through the network
            heads = self.clock.heads if self.clock.prepends else self.clock
            unused |= {id(p) for p in heads.parameters()}
        return [n for n, p in self.named_parameters() if id(p) in unused]

    def idle_adapters(self) -> list[Adapter]:
        """Adapters whose shared path nobody reads: of the last stage's lane block, at its end."""
        shares = self.streams == 'stage' and self.family.stages
        last = self.lanes.get(self.family.stages[-1].lane_block) if shares else None
        return last.unread_adapters() if last else []

    def parameter_components(self) -> dict[str, list[str]]:
        """Component -> names of this module's parameters in it."""
        return backbone_components(self)

    def frozen_state_keys(self) -> set[str]:
        """Keys of this module's state dict that training leaves as they were loaded."""
        if not self.freeze or self.merged:
            return set()  # merged weights hold what was trained
        trained = {n for n, p in self.named_parameters() if p.requires_grad}
        keys = set(self.state_dict())
        return {k for k in keys if '.adapter.' not in k and k not in trained}

    def base_identity(self) -> dict[str, str]:
        """What the adapters were trained on: network, source of its weights, their hash."""
        frozen = self.frozen_state_keys()
        digest = hashlib.sha256()
        for key, value in sorted(self.state_dict().items()):
            if key in frozen:
                digest.update(key.encode())
                # as bytes, since numpy has no bfloat16
                digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return dict(
            type=str(self.base_cfg['type']), weights=self.weights, sha256=digest.hexdigest()
        )

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
        return merged_state_dict(self, task)

    def merge_adapters(self, reversible: bool = True, log: bool = True) -> MergeReport:
        """Merge the adapters into the weights, for inference; the outputs stay the same.

        * A layer that only the shared stream passes becomes the plain layer with the merged weight.
        * Lanes that are changes of the weight become one weight for each task.
        * Of lanes that read the shared stream (``frozen_input='shared'``), the shared path is
          merged where that takes fewer operations; the lanes stay.
        * What is no change of a weight is left as it is.
        * A BatchNorm is folded into the convolution before it where nothing else reads that; one
          inside a block that runs once for the shared stream and again for the lanes is kept.

        The backbone is put in eval mode and cannot be trained until :meth:`unmerge_adapters`. Its
        state dict is the merged one.

        Args:
            reversible: ``False``: let go of the adapters, which saves their memory.
            log: Log the table of what was merged.

        Returns:
            What was merged, and what was left and why.

        Raises:
            RuntimeError: it is merged already.
        """
        report = merge_backbone(self, reversible)
        if log:
            print_log(str(report), logger='current')
        return report

    def unmerge_adapters(self) -> None:
        """Put the very modules back that :meth:`merge_adapters` set aside.

        Raises:
            RuntimeError: they were let go of.
        """
        unmerge_backbone(self)


def _pad(x: Tensor, divisor: int) -> Tensor:
    """Zeros at the right and the bottom up to a multiple of ``divisor``."""
    height, width = x.shape[-2:]
    bottom, right = -height % divisor, -width % divisor
    return F.pad(x, (0, right, 0, bottom)) if bottom or right else x


def _pieces(names: Sequence[str]) -> set[str]:
    return {piece for name in names for piece in name.split('.') if not piece.isdigit()}
