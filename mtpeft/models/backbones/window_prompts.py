"""Task tokens in windowed attention."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.adapters.lanes.current import now, within


@dataclass
class Attended:
    """What the windows of one attention see in a pass.

    Attributes:
        attention: The attention.
        prompts: Tokens ``(B, P, C)``, already normalised.
        pictures: Pictures in a pass. A multiple of B where lanes lie on the batch axis.
        rows: Output of the tokens in the first pass of the block, ``(B, P, C)``.
    """

    attention: nn.Module
    prompts: Tensor
    pictures: int
    rows: Tensor | None = None


class PromptedAttention:
    """Mixin: windowed attention in which tokens stand before the patches of every window.

    The tokens of a picture are copied into each of its windows. Patches and tokens attend to both;
    position bias and shift mask touch patches among themselves only. What comes out of the tokens
    is averaged over the windows of a picture.
    """

    @property
    def attended(self) -> Attended | None:
        """What windows see in this pass besides patches; ``None``: plain attention."""
        attended = now.attended
        return attended if attended is not None and attended.attention is self else None

    @classmethod
    def adopt(cls, attention: nn.Module) -> 'PromptedAttention':
        """An attention of this class that shares all state of ``attention``."""
        new = cls.__new__(cls)
        new.__dict__.update(attention.__dict__)
        new.__dict__['_modules'] = dict(attention._modules)
        return new

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of ``(windows, P + N, C)``; position bias and mask are padded for tokens."""
        raise NotImplementedError

    def padded(self, table: Tensor) -> Tensor:
        """A bias or mask ``(..., N, N)`` with zeros for the tokens, ``(..., P + N, P + N)``."""
        attended = self.attended
        number = 0 if attended is None else attended.prompts.shape[1]
        return F.pad(table, (number, 0, number, 0)) if number else table

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Patches of windows ``(B windows, N, C)``, alike out."""
        seen = self.attended
        if seen is None:
            return self.attend(x, mask)
        pictures, number, _ = seen.prompts.shape
        copies = seen.pictures // pictures
        windows = x.shape[0] // seen.pictures
        tokens = seen.prompts.repeat(copies, 1, 1).repeat_interleave(windows, 0).to(x.dtype)
        out = self.attend(torch.cat([tokens, x], 1), None if mask is None else self.padded(mask))
        if seen.rows is None:
            # the shared stream's pass comes first; what a lane makes of tokens nobody reads
            rows = out[:, :number].unflatten(0, (seen.pictures, windows)).mean(1)
            seen.rows = rows[:pictures]
        return out[:, number:]

    @contextmanager
    def attending(self, prompts: Tensor, pictures: int) -> Iterator[Attended]:
        """Let windows see ``prompts`` ``(B, P, C)``, already normalised, in this context."""
        seen = Attended(self, prompts, pictures)
        with within(attended=seen):
            yield seen
