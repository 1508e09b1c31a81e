"""The way of task tokens through a backbone."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mtpeft.adapters import ClockNet
from mtpeft.models.backbones.families import FAMILIES, Family


class TokenStream(nn.Module):
    """Task tokens that go through a transformer before its patches (VPT-shallow at stage 1).

    In a ViT they are tokens of its sequence. In a Swin they are a stream beside the map: before a
    block's windows attend, the tokens of a picture are copied into each of them; what comes out is
    averaged over the windows, and passes the block's residuals, norms and MLP as a patch does.
    Between stages a Linear layer without bias takes them to the next width. The last block's tokens
    are read by nobody and not made.

    Args:
        network: The network; the attention of a Swin's blocks is prepared for tokens.
        family: Its table.
        clock: Whose tokens they are.

    Raises:
        ValueError: the family cannot take tokens, or the tokens do not have the first stage's
            width.
    """

    def __init__(self, network: nn.Module, family: Family, clock: ClockNet) -> None:
        super().__init__()
        if family.prompts is None:
            able = ', '.join(f.name for f in FAMILIES if f.prompts)
            raise ValueError(
                f"tokens='prepend' needs a transformer whose attention can take tokens ({able}), "
                f"got {type(network).__name__}. Use tokens='free': parameters beside the network."
            )
        widths = [stage.channels for stage in family.stages]
        if clock.channels != widths[0]:
            raise ValueError(
                f"tokens='prepend' needs tokens of the first stage's width: expected "
                f'channels={widths[0]}, got {clock.channels}.'
            )
        self._parts = [family, clock]  # in a list: no modules of this one
        self.projections = nn.ModuleList()
        if family.prompts == 'windows':
            family.prepare_prompts(network)
            for narrow, wide in zip(widths, widths[1:], strict=False):
                projection = nn.Linear(narrow, wide, bias=False)
                nn.init.trunc_normal_(projection.weight, std=0.02)
                self.projections.append(projection)

    @property
    def family(self) -> Family:
        """The backbone's table."""
        return self._parts[0]

    def start(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The stem's map with tokens in it, or the tokens ``(B, T, C)`` beside it."""
        tokens = self._parts[1].stacked_tokens().expand(x.shape[0], -1, -1)
        if self.family.prompts == 'sequence':
            return self.family.join_prompts(x, tokens), None
        return x, tokens

    def before(self, name: str, x: Tensor, tokens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The shared stream and the tokens as the block ``name`` takes them."""
        return x, tokens

    def run(
        self,
        function: Callable[[Tensor], Any],
        block: nn.Module,
        x: Tensor,
        tokens: Tensor,
        copies: int = 1,
        last: bool = False,
    ) -> tuple[Any, Tensor]:
        """What ``function`` makes of ``x`` in sight of the tokens, and the tokens after the block.

        Args:
            function: Runs the block.
            block: The block.
            x: The shared stream.
            tokens: ``(B, T, C)``.
            copies: How often ``function`` puts each picture on the batch axis.
            last: No block reads the tokens after this one.
        """
        attention = self.family.attention(block)
        prompts = self.family.normed_prompts(block, tokens)
        with attention.attending(prompts, x.shape[0] * copies) as seen:
            out = function(x)
        return out, self.leave(block, tokens, seen.rows, last)

    def leave(self, block: nn.Module, tokens: Tensor, rows: Tensor, last: bool) -> Tensor:
        """The tokens after a block, of what its attention made of them."""
        return tokens if last else self.family.next_prompts(block, tokens, rows)

    def component(self, name: str) -> str:
        """The component of the reports that a parameter of this module belongs to."""
        return 'prompts' if name.startswith('prompts.') else 'task_tokens'

    def enter(self, stage: int, tokens: Tensor | None) -> Tensor | None:
        """The tokens at the width of a stage."""
        if tokens is None or stage == 0:
            return tokens
        return self.projections[stage - 1](tokens)
