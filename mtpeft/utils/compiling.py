"""torch.compile of the parts of a model that make its logits."""

from collections.abc import Sequence

import torch
from mmengine.model import is_model_wrapper
from torch import nn

#: The first release of torch that traces lanes as one graph. Older ones stop in the middle of a
#: ``with`` statement (2.6 to 2.8) or at a comparison of what a decomposition gives (2.9 to 2.11).
OLDEST_TORCH = '2.12'


def traces_lanes() -> bool:
    """Can this release of torch compile a backbone with task lanes?"""
    return torch.__version__ >= OLDEST_TORCH  # (compared as versions)


def compile_parts(
    model: nn.Module, backend: str = 'inductor', fullgraph: bool = False
) -> nn.Module:
    """Compile backbone, necks and decoder, or a model without these as a whole; in place.

    Each part is one graph without a break, with any registered adapter, in training and in
    inference. Weights that inference forms of parameters once and keeps are formed at every pass of
    a graph; ``model.merge_adapters()`` first saves that. Losses, labels and preprocessing, which
    depend on what is in a batch, stay as they are. Names in the state dict do not change. Compiling
    takes minutes at the first step of each mode and size of pictures.

    Args:
        model: The model, also inside a wrapper for several processes.
        backend: Of torch.compile.
        fullgraph: A break of a graph is an error.

    Returns:
        ``model``.

    Raises:
        RuntimeError: torch is older than :data:`OLDEST_TORCH`.
    """
    if not traces_lanes():
        raise RuntimeError(
            f'torch.compile traces task lanes from torch {OLDEST_TORCH} on; this is '
            f'{torch.__version__}. Train without --compile, or install a newer torch.'
        )
    inner = model.module if is_model_wrapper(model) else model
    parts: Sequence[nn.Module] = [inner]
    if hasattr(inner, 'backbone') and hasattr(inner, 'decoder'):
        parts = [inner.backbone, *inner.necks, inner.decoder]
    for part in parts:
        part.compile(backend=backend, fullgraph=fullgraph)
    return model
