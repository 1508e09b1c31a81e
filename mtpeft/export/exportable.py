"""A model with what belongs before and behind it, as one module of tensors."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtpeft.models import MultiTaskModel
from mtpeft.models.data_preprocessor import MultiTaskDataPreprocessor
from mtpeft.tasks import DenseTask
from mtpeft.utils.requested import requested_tasks


class Exportable(nn.Module):
    """Pictures in, a map for each task out; what an exported file does.

    Pictures ``(B, H, W, 3)``, uint8, RGB, as Pillow and most decoders give them, are normalised,
    padded to what the backbone needs, and predicted; logits are brought to the pictures' size and
    activated. With ``raw`` pictures come normalised, ``(B, 3, H, W)`` float32, and logits
    ``(B, C, H, W)`` leave.

    ==================  ========================================================
    activation          map
    ==================  ========================================================
    ``'argmax'``        class indices ``(B, H, W)``, int64
    ``'sigmoid'``       probabilities ``(B, H, W)``, float32
    ``'normalize'``     unit vectors ``(B, H, W, 3)``, float32
    ``'none'``          values ``(B, H, W)`` (of C channels ``(B, H, W, C)``), float32
    ==================  ========================================================

    These are the arrays of :class:`~mtpeft.apis.MultiTaskInferencer`, with one axis more.

    Args:
        model: The model, in eval mode.
        tasks: Names of the tasks that are wanted, all by default.
        raw: Without what belongs before and behind the network.

    Raises:
        TypeError: the model is none of ours, or normalises pictures in a way of its own.
        KeyError: an unknown task.

    Example:
        >>> model = MultiTaskModel(
        ...     tasks=['sal', 'depth'],
        ...     backbone=dict(type='mmseg.ResNet', depth=18, base_channels=8, stem_channels=8),
        ...     decoder=dict(type='MultiHeadDecoder', in_channels=(8, 16, 32, 64),
        ...                  head=dict(type='HRNetHead', channels=8))).eval()
        >>> maps = Exportable(model)(torch.zeros(1, 33, 40, 3, dtype=torch.uint8))
        >>> {name: tuple(x.shape) for name, x in maps.items()}
        {'sal': (1, 33, 40), 'depth': (1, 33, 40)}
    """

    def __init__(
        self, model: nn.Module, tasks: Sequence[str] | None = None, raw: bool = False
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(model, MultiTaskModel):
            raise TypeError(
                f'A MultiTaskModel can be exported, got {type(model).__name__}. (A segmentor of '
                'mmsegmentation is exported by mmdeploy, after merge_adapters.py.)'
            )
        self.model = model
        self.raw = raw
        self.tasks: dict[str, DenseTask] = {
            name: model.tasks[name] for name in requested_tasks(tasks, model.tasks)
        }
        self._asked = None if tasks is None else list(self.tasks)
        if not raw and type(model.data_preprocessor) is not MultiTaskDataPreprocessor:
            raise TypeError(
                f'{type(model.data_preprocessor).__name__} prepares pictures in a way of its own, '
                'which an exported file does not know. Export the network alone (raw=True, --raw) '
                'and prepare pictures outside of it.'
            )

    @property
    def input_name(self) -> str:
        """What the pictures are called."""
        return 'normalised' if self.raw else 'pictures'

    @property
    def channels(self) -> int:
        """Channels of a picture."""
        return getattr(self.model.data_preprocessor, 'channels', 3)

    def example(self, batch: int, size: Sequence[int]) -> Tensor:
        """Noise in the place of pictures of ``size`` (H, W), as :meth:`forward` takes them."""
        generator = torch.Generator().manual_seed(0)
        if self.raw:
            return torch.randn(batch, self.channels, *size, generator=generator)
        noise = torch.randint(256, (batch, *size, self.channels), generator=generator)
        return noise.to(torch.uint8 if self.channels == 3 else torch.float32)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Maps by task."""
        return self.maps(self.logits(pictures))

    def logits(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits ``(B, C, H, W)`` by task."""
        x = pictures if self.raw else self._normalised(pictures)
        logits = self.model(x, tasks=self._asked)
        return {name: logits[name] for name in self.tasks}

    def maps(self, logits: dict[str, Tensor]) -> dict[str, Tensor]:
        """What :meth:`forward` makes of logits."""
        if self.raw:
            return logits
        return {name: _last(task.predict(logits[name])) for name, task in self.tasks.items()}

    def _normalised(self, pictures: Tensor) -> Tensor:
        prepare = self.model.data_preprocessor
        x = pictures.permute(0, 3, 1, 2).float()
        if not prepare.bgr_to_rgb and self.channels >= 3:  # (the network wants B first)
            x = torch.cat([x[:, :3].flip(1), x[:, 3:]], 1)
        return (x - prepare.mean) / prepare.std


def _last(maps: Tensor) -> Tensor:
    """``(B, H, W)`` of one channel, ``(B, H, W, C)`` of several."""
    return maps[:, 0] if maps.shape[1] == 1 else maps.permute(0, 2, 3, 1)


def prepared(
    model: nn.Module,
    tasks: Sequence[str] | None = None,
    raw: bool = False,
    half: bool = False,
) -> Exportable:
    """A copy of a model that is ready to be exported: merged, and of half precision if asked for.

    Args:
        model: The model; it stays as it is.
        tasks: Names of the tasks that are wanted, all by default.
        raw: See :class:`Exportable`.
        half: Weights and what passes the network in float16; pictures are normalised in float32,
            and maps are float32, all the same.
    """
    known = Exportable(model, tasks, raw)  # (refuses before it takes memory)
    own = copy.deepcopy(known.model).cpu()
    if not own.merged:
        own.merge_adapters(reversible=False, log=False)
    own.eval().requires_grad_(False)
    if half:
        own.half()
    return Exportable(own, tasks, raw)
