"""TADFormer's backbone: prompts in the windows of a Swin, and lanes gated by them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from mtpeft.adapters import NotMergeableError
from mtpeft.adapters.plugins import Plugins
from mtpeft.models.backbones.adapter_backbone import AdapterBackbone
from mtpeft.models.backbones.families import FAMILIES
from mtpeft.models.backbones.gated_lanes import GatedLanes
from mtpeft.models.backbones.streams import StageStreams, Streams
from mtpeft.models.backbones.task_prompts import TaskPromptStream
from mtpeft.registry import MODELS
from mtpeft.utils.kinds import Network, Size


class GatedStreams(StageStreams):
    """Lanes in the last block of each stage, gated by the tasks' prompts.

    Args:
        prompt_gate: ``False``: lanes start from the attention's output as it is.
        Others: as :class:`~mtpeft.models.backbones.streams.StageStreams`.
    """

    def __init__(self, prompt_gate: bool, *args: Any, **kwargs: Any) -> None:
        self.prompt_gate = prompt_gate
        super().__init__(*args, **kwargs)

    def make_lanes(self, strategy: str) -> dict[str, GatedLanes]:
        parts = zip(self.family.stages, self.tokens.norms, strict=True)
        return {
            stage.lane_block: GatedLanes(
                self.network.get_submodule(stage.lane_block),
                self.tasks,
                self.family,
                norms[-1],
                self.tokens.gates,
                i,
                self.prompt_gate,
            )
            for i, (stage, norms) in enumerate(parts)
        }


@MODELS.register_module()
class TADFormerBackbone(AdapterBackbone):
    """A frozen Swin with task prompts and lanes gated by them (TADFormer, arXiv 2501.04293).

    Prompts go through the network in the windows of every block
    (:class:`~mtpeft.models.backbones.task_prompts.TaskPromptStream`). In the last block of each
    stage they gate the streams of the tasks, and a stage gate mixes what was gated with what the
    block made of it (:class:`~mtpeft.models.backbones.gated_lanes.GatedLanes`). With B = 0 the
    start is half the gated attention and half the pretrained stream, not the pretrained network.

    Args:
        backbone: A Swin of timm or mmseg, as for
            :class:`~mtpeft.models.backbones.AdapterBackbone`.
        plugins: :class:`~mtpeft.adapters.TADFormer` with ``lanes='task'`` on proj, fc1 and fc2,
            and any adapter without lanes on qkv.
        tasks: Names of the tasks, at least one.
        prompts_per_task: L; scores of a task's prompts are averaged behind GELU.
        prompt_gate: ``False``: lanes start from the attention's output as it is.
        tap: As for ``AdapterBackbone``.
        train_also: As for ``AdapterBackbone``.
        freeze: As for ``AdapterBackbone``.
        with_cp: As for ``AdapterBackbone``.
        network: As for ``AdapterBackbone``.
        init_cfg: As in mmengine.

    Raises:
        ValueError: another backbone, no tasks, no prompts, or a layer of a last block that is not
            adapted as it has to be.

    Example:
        >>> import torch
        >>> lora = dict(type='TADFormer', rank=2)
        >>> net = TADFormerBackbone(
        ...     dict(type='timm.swin_tiny_patch4_window7_224', embed_dim=8, depths=(1, 1, 1, 1),
        ...          num_heads=(1, 1, 2, 2)),
        ...     plugins=[dict(cfg=lora, targets=['qkv']),
        ...              dict(cfg=lora, targets=['proj', 'fc1', 'fc2'], lanes='task')],
        ...     tasks=['semseg', 'depth'])
        >>> levels = net(torch.zeros(1, 3, 64, 64))
        >>> [tuple(x.shape[1:]) for x in levels['depth']]
        [(16, 8, 8), (32, 4, 4), (64, 2, 2), (64, 2, 2)]
    """

    gives_maps = True

    def __init__(
        self,
        backbone: Network | nn.Module | None = None,
        plugins: Plugins = (),
        tasks: Sequence[str] | None = None,
        prompts_per_task: Size = 1,
        prompt_gate: bool = True,
        tap: Literal['post_merge', 'pre_merge'] | None = None,
        train_also: Sequence[str] = (),
        freeze: bool = True,
        with_cp: bool = False,
        network: nn.Module | None = None,
        init_cfg: Mapping | None = None,
    ) -> None:
        if not tasks:
            raise ValueError('TADFormer has prompts for each task: set tasks=[...].')
        number = prompts_per_task
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f'expected prompts_per_task to be an integer from 1, got {number!r}.')
        # told before the base class builds what needs them
        self.prompts_per_task = number
        self.prompt_gate = prompt_gate
        super().__init__(
            backbone, plugins, tasks, tap, train_also, freeze, with_cp=with_cp, network=network,
            init_cfg=init_cfg,
        )  # fmt: skip

    def _check_family(self) -> None:
        if self.family.parts is None:
            able = ', '.join(f.name for f in FAMILIES if f.parts)
            raise ValueError(
                'TADFormer needs windowed attention whose blocks are known step by step '
                f'({able}), got {type(self.network).__name__}.'
            )

    def _make_token_stream(self, prompts: None) -> TaskPromptStream:
        return TaskPromptStream(self.network, self.family, self.tasks, self.prompts_per_task)

    def _make_streams(self, kind: type[Streams], strategy: str, with_cp: bool) -> GatedStreams:
        return super()._make_streams(partial(GatedStreams, self.prompt_gate), strategy, with_cp)

    def unused_parameter_names(self) -> list[str]:
        """Prompt norms of blocks that do not gate: published, counted, and read by nobody."""
        lanes = self.lanes.values() if self.prompt_gate else ()
        read = {id(p) for lane in lanes for p in lane.norm.parameters()}
        return [
            name
            for name, parameter in self.named_parameters()
            if name.startswith('token_stream.norms.') and id(parameter) not in read
        ]

    def merged_state_dict(self, task: str | None = None) -> dict[str, Tensor]:
        """Refused.

        Raises:
            NotMergeableError: patches attend to prompts.
        """
        raise NotMergeableError(
            'In TADFormer patches attend to task prompts, which no plain network has: it cannot be '
            'merged.'
        )
