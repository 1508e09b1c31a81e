"""The way of TADFormer's task prompts through a Swin, and the parameters that gate with them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtpeft.models.backbones.families import Family
from mtpeft.models.backbones.streams.tokens import TokenStream

_COMPONENT = dict(
    prompts='task_prompts',
    gates='task_prompts',
    norms='prompt_norms',
    projections='prompt_projection',
)


class TaskPrompts(nn.ParameterDict):
    """L prompts for each task, ``(L, C)`` under the task's name, normal(1, 1) cut to [-2, 2].

    Args:
        tasks: Names of the tasks.
        channels: C.
        number: L.

    Example:
        >>> TaskPrompts(['semseg', 'depth'], channels=8, number=2).stacked_tokens().shape
        torch.Size([4, 8])
    """

    def __init__(self, tasks: Sequence[str], channels: int, number: int) -> None:
        super().__init__()
        self.channels = channels
        for task in tasks:
            prompts = torch.empty(number, channels)
            self[task] = nn.Parameter(nn.init.trunc_normal_(prompts, mean=1, std=1, a=-2, b=2))

    def stacked_tokens(self) -> Tensor:
        """All prompts ``(T L, C)``, in the order of the tasks."""
        return torch.cat(list(self.values()))


class TaskPromptStream(TokenStream):
    r"""Task prompts in the windows of a Swin (TADFormer, arXiv 2501.04293).

    As task tokens they are copied before the patches of each window and averaged over windows
    behind the attention, which gives :math:`\tilde P`. What the attention made of a prompt is not
    added to it but goes through the block's MLP:

    .. math:: P' = P + \mathrm{DP}(\mathrm{MLP}(\mathrm{LN}_2(\tilde P)))

    The very last block hands on :math:`\tilde P` itself, which nobody reads.

    Args:
        network: The network; the attention of its blocks is prepared for prompts.
        family: Its table.
        tasks: Names of the tasks.
        number: Prompts a task.

    Attributes:
        prompts: :class:`TaskPrompts`.
        norms: LN of the gated attention for every block, by stage; only the last of a stage is
            read, as published.
        gates: g of each stage, ``(1,)``, starting at 0.
    """

    def __init__(
        self, network: nn.Module, family: Family, tasks: Sequence[str], number: int
    ) -> None:
        prompts = TaskPrompts(tasks, family.stages[0].channels, number)
        super().__init__(network, family, prompts)
        self.prompts = prompts
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.LayerNorm(stage.channels) for _ in stage.blocks)
            for stage in family.stages
        )
        self.gates = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in family.stages)

    def leave(self, block: nn.Module, tokens: Tensor, rows: Tensor, last: bool) -> Tensor:
        return rows if last else tokens + self.family.parts(block).mlp(rows)

    def component(self, name: str) -> str:
        return _COMPONENT[name.split('.')[0]]
