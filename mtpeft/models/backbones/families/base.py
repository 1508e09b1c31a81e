"""What a backbone family tells the library about its networks."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtpeft.models.backbones.families.picture_size import check_size
from mtpeft.models.backbones.families.swin_parts import SwinParts

#: Groups of parameters that every network has, beside those of its family.
COMMON_GROUPS = {'biases': r'(?:.*[._])?bias'}


@dataclass
class Stage:
    """One stage: blocks that run one after another, then maybe a patch merging.

    Attributes:
        blocks: Dotted names of the blocks.
        lane_block: Name of the block with task lanes (one of ``blocks``).
        merge: Name of the patch merging after the stage, ``None`` where there is none.
        channels: Channels before the merging.
        merged_channels: Channels after it.
        stride: Stride of the map before the merging.
        out_norm: Name of a norm for the un-merged output, ``None`` where there is none.
        end: Name of a module that every stream passes after the last block (a stage's norm).
    """

    blocks: Sequence[str]
    lane_block: str
    merge: str | None
    channels: int
    merged_channels: int
    stride: int
    out_norm: str | None = None
    end: str | None = None


class Family:
    """A small table of a backbone family; the network itself is never rewritten.

    Maps travel in the layout the family's blocks like (``layout``) and leave as
    ``(B, C, H, W)``.

    Args:
        network: A network of the family.

    Attributes:
        roles: Role -> regular expression for the end of a layer's name.
        groups: Group of parameters (for ``train_also`` and reports) -> regular expression over
            whole parameter names.
        may_be_absent: Prefixes of parameters that pretrained weights need not have.
        unread: Prefixes of modules whose output the features never read (final norm,
            classifier).
        modified_in_place: Regular expression for the end of the names of layers whose output the
            network changes in place, so that it has to be copied to be remembered.
        build_options: Options that a timm network is built with, where its class takes them and
            the config does not name them.
        on_map: Regular expression for the end of the names of Linear layers that see all tokens of
            a map in the order of the picture, ``None`` where there are none.
        blocks_see_map: Blocks take tokens in the order of the picture, so that what stands beside
            one can convolve.
        prompts: How task tokens go through the network: ``'windows'`` (a stream of their own that
            each window attends to), ``'sequence'`` (tokens before the patches), or ``None``.
        parts: The steps of a block one by one, ``None`` for blocks that are run as a whole.
        one_size: Why an exported graph is right for pictures of one size only, ``''`` where nothing
            is known against others.
    """

    name = ''
    layout = 'NCHW'
    roles: dict[str, str] = {}
    groups: dict[str, str] = {}
    unread: tuple[str, ...] = ()
    modified_in_place: str | None = None
    build_options: dict[str, Any] = {}
    may_be_absent: tuple[str, ...] = ()
    on_map: str | None = None
    blocks_see_map: bool = True
    prompts: str | None = None
    parts: type[SwinParts] | None = None
    one_size: str = ''

    def __init__(self, network: nn.Module) -> None:
        self.stages = self.make_stages(network)

    @staticmethod
    def serves(network: nn.Module) -> bool:
        """Does this table describe ``network``?"""
        raise NotImplementedError

    def make_stages(self, network: nn.Module) -> list[Stage]:
        """The stages of ``network``."""
        raise NotImplementedError

    def start(self, network: nn.Module, x: Tensor) -> Tensor:
        """From any picture ``(B, 3, H, W)`` to the first stage's map.

        Raises:
            ValueError: the network takes pictures of one size, and this is another.
        """
        x = self.padded(x)
        check_size(network, x.shape[-2:])
        return self.stem(network, x)

    def stem(self, network: nn.Module, x: Tensor) -> Tensor:
        """From the picture ``(B, 3, H, W)`` to the first stage's map.

        Of tokens in a sequence, it notes the map and the tokens before it in the pass
        (:mod:`mtpeft.adapters.lanes.current`).
        """
        raise NotImplementedError

    def run_block(self, block: nn.Module, x: Tensor) -> Tensor:
        """One block; the map keeps its layout."""
        return block(x)

    def run_merge(self, merge: nn.Module, x: Tensor) -> Tensor:
        """The patch merging."""
        return merge(x)

    def reduction(self, merge: nn.Module) -> nn.Linear | None:
        """The patch merging's last layer, where that is a Linear layer without bias."""
        return None

    def before_reduction(self, merge: nn.Module, x: Tensor) -> Tensor:
        """What :meth:`reduction` takes, ``(B, h, w, k)``."""
        raise NotImplementedError

    def recompute(self, network: nn.Module, value: bool) -> None:
        """Tell a network whose blocks are not run one by one to compute them again by itself.

        Raises:
            ValueError: it cannot.
        """

    # -- task tokens -----------------------------------------------------------------------------

    def join_prompts(self, x: Tensor, prompts: Tensor) -> Tensor:
        """``prompts='sequence'``: put tokens ``(B, P, C)`` before the patches of the stem's map."""
        raise NotImplementedError

    def prepare_prompts(self, network: nn.Module) -> None:
        """``prompts='windows'``: let every block's attention take tokens."""
        raise NotImplementedError

    def attention(self, block: nn.Module) -> nn.Module:
        """``prompts='windows'``: the attention of a block that was prepared."""
        raise NotImplementedError

    def normed_prompts(self, block: nn.Module, prompts: Tensor) -> Tensor:
        """``prompts='windows'``: tokens as the block's attention takes them."""
        raise NotImplementedError

    def next_prompts(self, block: nn.Module, prompts: Tensor, rows: Tensor) -> Tensor:
        """``prompts='windows'``: tokens after the block, of what its attention made of them."""
        raise NotImplementedError

    def size(self, x: Tensor) -> tuple[int, int]:
        """(H, W) of a map."""
        return tuple(x.shape[1:3] if self.layout == 'NHWC' else x.shape[2:4])

    def to_nchw(self, x: Tensor) -> Tensor:
        """A map as ``(B, C, H, W)``."""
        return x.permute(0, 3, 1, 2).contiguous() if self.layout == 'NHWC' else x

    @property
    def patch_size(self) -> int:
        """Sides of the picture are padded to a multiple of this before the stem."""
        return self.stages[0].stride

    def widths_and_strides(self, merged: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Channels and strides of the levels, behind the patch mergings or before them."""
        widths = (s.merged_channels if merged else s.channels for s in self.stages)
        strides = (s.stride * (2 if merged and s.merge else 1) for s in self.stages)
        return tuple(widths), tuple(strides)

    def padded(self, x: Tensor) -> Tensor:
        """Zeros at the right and the bottom up to a multiple of :attr:`patch_size`."""
        if self.patch_size == 1:
            return x
        patch = self.patch_size
        bottom, right = ((patch - side % patch) % patch for side in x.shape[-2:])
        needed = any(not isinstance(side, int) or side for side in (bottom, right))
        return F.pad(x, (0, right, 0, bottom)) if needed else x

    @property
    def size_divisor(self) -> int:
        """Sides divisible by this pass without any padding inside the network."""
        last = self.stages[-1]
        return last.stride * (2 if last.merge else 1)


def ends_with(name: str, ending: str | None) -> bool:
    """Is ``ending`` (a regular expression) the end of a dotted name?"""
    return ending is not None and re.fullmatch(rf'(?:.*\.)?(?:{ending})', name) is not None


def measure(
    network: nn.Module, run: Callable, size: tuple[int, int] = (64, 64)
) -> list[Tensor]:  # fmt: skip
    """Outputs of ``run(network, x)`` on zeros, without gradients and in eval mode."""
    training = network.training
    network.eval()
    with torch.no_grad():
        out = run(network, torch.zeros(1, channels_in(network), *size))
    network.train(training)
    return list(out)


def first_conv(network: nn.Module) -> str | None:
    """The name of the convolution that reads the picture; ``None``: there is none."""
    convs = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    return next(convs, None)


def channels_in(network: nn.Module) -> int:
    """Channels of the pictures that a network takes (timm: ``in_chans``).

    Example:
        >>> channels_in(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3)))
        4
    """
    name = first_conv(network)
    return 3 if name is None else network.get_submodule(name).in_channels
