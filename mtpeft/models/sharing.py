"""What every model of ours can do to be passed on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mtpeft.models.components import trainable_parameters
from mtpeft.registry import SERVICES


class Sharing(nn.Module):
    """Mixin: a model that is saved, put on the hub, and counted.

    Attributes:
        given: What the model was made with, a config; for a file of a model without a config.
    """

    given: Mapping[str, Any] | None = None

    def save_pretrained(self, folder: str | Path, **options: Any) -> list[Path]:
        """Write what was trained as a folder, see :func:`mtpeft.save_pretrained`."""
        return SERVICES.get('save_pretrained')(self, folder, **options)

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Put the model on the Hugging Face hub, see :func:`mtpeft.push_to_hub`."""
        return SERVICES.get('push_to_hub')(self, repository, **options)

    def print_trainable_parameters(self) -> None:
        """Print how many numbers are trained, of how many."""
        print(trained_line(self))


def trained_line(model: nn.Module) -> str:
    """How many numbers of a model are trained, in the words of PEFT.

    Example:
        >>> trained_line(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(False)))
        'trainable params: 8 || all params: 11 || trainable%: 72.7273'
    """
    trained, total = trainable_parameters(model)
    share = 100 * trained / total if total else 0.0
    return f'trainable params: {trained:,} || all params: {total:,} || trainable%: {share:.4f}'


def made_with(kind: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a part, of the ``locals()`` at the start of its ``__init__``.

    Example:
        >>> made_with('Neck', dict(self=0, width=3, norm=None, __class__=0))
        {'type': 'Neck', 'width': 3}
    """
    own = {k: v for k, v in names.items() if v is not None and k not in ('self', '__class__')}
    return {'type': kind, **own}
