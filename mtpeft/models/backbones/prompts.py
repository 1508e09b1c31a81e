"""Visual prompts: learnable tokens that patches attend to (VPT, arXiv 2203.12119)."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from mtpeft.adapters import ClockNet
from mtpeft.adapters.lanes.current import now
from mtpeft.models.backbones.families import FAMILIES, Family
from mtpeft.models.backbones.streams.tokens import TokenStream
from mtpeft.utils.kinds import Size
from mtpeft.utils.suggest import hint

_OPTIONS = ('number', 'deep')


class PromptOptions(TypedDict, total=False):
    """``prompts`` of a backbone, see :class:`PromptStream`."""

    number: Size
    deep: bool


class PromptStream(TokenStream):
    r"""Prompts of a frozen transformer, shared by all tasks (VPT, arXiv 2203.12119).

    *Shallow*: ``number`` tokens stand before the patches of the first block and go through the
    network with them. *Deep*: every block has tokens of its own; what comes out of them is dropped.
    No level holds them. They start uniform in :math:`\pm\sqrt{6 / (3 p^2 + C)}` with patches of
    p x p and the first width C.

    In a ViT they are tokens of its sequence, behind the class token. In a Swin they are copied into
    each window, and what comes out is averaged over the windows. At a patch merging, a shallow
    prompt passes the frozen merging as four equal patches would (so does the authors' Swin): the
    prompts are the only parameters.

    Args:
        network: The network; the attention of a Swin's blocks is prepared for tokens.
        family: Its table.
        number: Prompts of a block.
        deep: Prompts for each block.

    Attributes:
        prompts: One parameter ``(1, number, C)``; deep, one a stage, ``(blocks, number, C_i)``.

    Raises:
        ValueError: the family cannot take tokens, or an option is wrong.
    """

    def __init__(
        self, network: nn.Module, family: Family, number: int = 10, deep: bool = False
    ) -> None:
        nn.Module.__init__(self)
        if family.prompts is None:
            able = ', '.join(f.name for f in FAMILIES if f.prompts)
            raise ValueError(
                f'prompts need a transformer whose attention can take tokens ({able}), got '
                f'{type(network).__name__}. Adapters (plugins) serve all backbones.'
            )
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f'prompts: expected number to be a positive integer, got {number!r}.')
        if not isinstance(deep, bool):
            raise ValueError(f'prompts: expected deep to be True or False, got {deep!r}.')
        self._parts = [family, network]  # in a list: no modules of this one
        self.number = number
        self.deep = deep
        stages = family.stages if deep else family.stages[:1]
        bound = (6 / (3 * family.patch_size**2 + stages[0].channels)) ** 0.5
        self.prompts = nn.ParameterList()
        self._places: dict[str, tuple[int, int]] = {}
        for index, stage in enumerate(stages):
            blocks = len(stage.blocks) if deep else 1
            prompts = torch.empty(blocks, number, stage.channels).uniform_(-bound, bound)
            self.prompts.append(nn.Parameter(prompts))
            self._places |= {name: (index, i) for i, name in enumerate(stage.blocks)}
        if family.prompts == 'windows':
            family.prepare_prompts(network)

    def _of(self, block: str, pictures: int) -> Tensor:
        """Prompts ``(B, P, C)`` that belong to a block."""
        stage, index = self._places[block]
        return self.prompts[stage][index if self.deep else 0].expand(pictures, -1, -1)

    def start(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        tokens = self._of(self.family.stages[0].blocks[0], x.shape[0])
        if self.family.prompts == 'sequence':
            return self.family.join_prompts(x, tokens), None
        return x, tokens

    def before(self, name: str, x: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not self.deep:
            return x, tokens
        own = self._of(name, x.shape[0])
        if self.family.prompts == 'windows':
            return x, own
        start = now.prefix - self.number
        parts = x[:, :start], own.to(x.dtype), x[:, now.prefix :]
        return torch.cat(parts, 1), None

    def run(
        self,
        function: Callable[[Tensor], Any],
        block: nn.Module,
        x: Tensor,
        tokens: Tensor,
        copies: int = 1,
        last: bool = False,
    ) -> tuple[Any, Tensor]:
        return super().run(function, block, x, tokens, copies, last or self.deep)

    def enter(self, stage: int, tokens: Tensor | None) -> Tensor | None:
        if tokens is None or stage == 0 or self.deep:
            return tokens
        network, merge = self._parts[1], self.family.stages[stage - 1].merge
        four = tokens.flatten(0, 1)[:, None, None].expand(-1, 2, 2, -1)
        merged = self.family.run_merge(network.get_submodule(merge), four)
        return merged.view(*tokens.shape[:2], -1)


def make_token_stream(
    network: nn.Module, family: Family, clock: ClockNet | None, prompts: Mapping | None
) -> TokenStream | None:
    """What takes task tokens or prompts through ``network``; ``None`` for neither.

    Raises:
        ValueError: both are asked for, an option is unknown or wrong, or the family takes none.
    """
    prepends = clock is not None and clock.prepends
    if prompts is None:
        return TokenStream(network, family, clock) if prepends else None
    if prepends:
        raise ValueError(
            "prompts and a clock with tokens='prepend' both put tokens before the patches, and a "
            "backbone takes one kind: use clock=dict(tokens='free'), or no prompts."
        )
    for name in prompts:
        if name not in _OPTIONS:
            raise ValueError(f"prompts have no option '{name}'. " + hint(str(name), _OPTIONS))
    return PromptStream(network, family, **prompts)
