"""AdaLoRA's adapter: an update in the form of a singular value decomposition (arXiv 2303.10512)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtpeft.adapters.lora import LoRA
from mtpeft.adapters.ranks.low_rank import RankGroup
from mtpeft.registry import ADAPTERS

_STD = 0.02


@ADAPTERS.register_module()
class AdaLoRA(LoRA):
    r"""Low-rank update of triplets: a left vector, a value, a right vector.

    .. math:: y = W_0 x + b + s\, P\, \mathrm{diag}(\Lambda)\, Q\, \mathrm{drop}(x)

    (arXiv 2303.10512, section 3.1) and, for a task lane t with its own input,
    :math:`y_t = W_0 x_t + b + s\, P_t \mathrm{diag}(\Lambda_t) Q_t x_t`. P ``(out, r)`` and Q
    ``(r, in)`` (``(r, in, k, k)`` for a convolution) start normal with a standard deviation of
    0.02, Lambda ``(r,)`` at 0, so the start is the pretrained layer. That P's columns and Q's rows
    are orthonormal is asked for by a penalty on the loss, which is
    :class:`~mtpeft.hooks.AdaLoRAHook`'s, as the choice of the triplets is.

    Args:
        layer: The layer to adapt.
        tasks: Names of the task lanes.
        **kwargs: ``rank``, ``task_rank``, ``scale``, ``dropout`` and ``frozen_input`` of
            :class:`~mtpeft.adapters.lora.LoRA`. The paper's scale is alpha / r.

    Raises:
        ValueError: as :class:`~mtpeft.adapters.lora.LoRA`.

    Example:
        >>> adapter = AdaLoRA(nn.Linear(8, 4), tasks=['semseg', 'depth'], rank=2)
        >>> adapter.P.shape, adapter.Lambda.shape, adapter.task_Q.shape
        (torch.Size([4, 2]), torch.Size([2]), torch.Size([2, 2, 8]))
    """

    def __init__(self, layer: nn.Module, tasks: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(layer, tasks, **kwargs)

    def _make_shared(self, layer: nn.Module) -> None:
        self.shared_parameters = {'lora_shared': self._make(layer, 'shared', '', (), self.rank)}

    def _make_lanes(self, layer: nn.Module) -> None:
        lead = (len(self.tasks),)
        names = self._make(layer, 'task', 'task_', lead, self.task_rank)
        self.task_parameters = {'lora_task': names}

    def _make(
        self, layer: nn.Module, kind: str, prefix: str, lead: tuple[int, ...], rank: int
    ) -> list[str]:
        weight = layer.weight
        # Lambda is last: masks and weights of components multiply it
        axes = {f'{prefix}Q': 0, f'{prefix}P': 1, f'{prefix}Lambda': 0}
        shapes = (rank, *weight.shape[1:]), (weight.shape[0], rank), (rank,)
        for name, shape in zip(axes, shapes, strict=True):
            setattr(self, name, nn.Parameter(weight.new_empty(*lead, *shape)))
        self.make_group(kind, axes, product=False)
        return list(axes)

    def reset_parameters(self) -> None:
        """P and Q normal with a standard deviation of 0.02, Lambda zero."""
        for name, parameter in self.named_parameters(recurse=False):
            if name.endswith('Lambda'):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=_STD)

    def factors(self, task: str | None = None) -> list[Tensor]:
        """Q and P diag(Lambda) of the shared path (``task=None``) or of a task."""
        return _pair(*super().factors(task))

    def lane_tensors(self, layer: nn.Module) -> dict[str, Tensor]:
        q, p = _pair(*self.groups['task'].effective().values())
        return dict(task_A=q, task_B=p)

    def _shared_terms(self, layer: nn.Module) -> tuple[Tensor, Tensor, Tensor | None]:
        return *_pair(*self.groups['shared'].effective().values()), None


def _pair(q: Tensor, p: Tensor, values: Tensor) -> list[Tensor]:
    return [q, p * values[..., None, :]]


def has_triplets(group: RankGroup) -> bool:
    """Whether a group's components are triplets, which :func:`orthogonality` measures."""
    return isinstance(group.adapter, AdaLoRA)


def orthogonality(group: RankGroup) -> Tensor:
    r"""How far the vectors of each stream's triplets are from orthonormal, ``(2, S)``.

    .. math:: \lVert Q Q^T - I \rVert_F, \qquad \lVert P^T P - I \rVert_F

    (arXiv 2303.10512, section 3.1, before squaring), over the active triplets; kernels are
    flattened.

    Args:
        group: Of an :class:`AdaLoRA`.

    Example:
        >>> adapter = AdaLoRA(nn.Linear(3, 3), rank=2)
        >>> with torch.no_grad():
        ...     _ = adapter.Q.copy_(torch.eye(3)[:2]), adapter.P.zero_()
        >>> orthogonality(adapter.groups['shared']).squeeze(1).tolist()
        [0.0, 1.4142135381698608]
    """
    distances = []
    for name in list(group.factors)[:2]:
        vectors = group.moved(name, group.parameters[name]).flatten(2)
        ranks = torch.tensor(group.active, device=vectors.device)
        active = torch.arange(group.rank, device=vectors.device) < ranks[:, None]
        # pruned vectors are 0, as is their part of the identity
        gram = vectors @ vectors.mT - torch.diag_embed(active.to(vectors.dtype))
        distances.append(torch.linalg.vector_norm(gram, dim=(1, 2)))
    return torch.stack(distances)
