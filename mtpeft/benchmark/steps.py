"""A training step and an inference, as functions without arguments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn

from mtpeft.benchmark.rounds import Call
from mtpeft.optim.flat_no_decay import param_groups
from mtpeft.structures import MultiTaskDataSample


def training_step(
    model: nn.Module,
    inputs: Tensor,
    samples: Sequence[MultiTaskDataSample],
    optimizer: Mapping,
    max_norm: float = 5.0,
    bf16: bool = False,
) -> Call:
    """Forward pass, losses, backward pass, clipping of the gradients, a step of the optimizer.

    Args:
        model: Has ``loss(inputs, samples)``, whose entries named ``loss_...`` are summed.
        inputs: Normalised pictures ``(B, 3, H, W)``.
        samples: Their labels, on the same device.
        optimizer: Config of the optimizer; parameters with one axis are not decayed.
        max_norm: Of all gradients together.
        bf16: Forward pass and losses under autocast.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    built = OPTIMIZERS.build(dict(optimizer, params=param_groups(model)))

    def step() -> None:
        with _autocast(inputs.device, bf16):
            losses = model.loss(inputs, samples)
        sum(value for name, value in losses.items() if name.startswith('loss_')).backward()
        nn.utils.clip_grad_norm_(trained, max_norm)
        built.step()
        built.zero_grad()

    return Call(step, prepare=model.train)


def inference(model: nn.Module, inputs: Tensor, bf16: bool = False, **options) -> Call:
    """Logits at the input's size in eval mode, without gradients; ``options`` go to the model."""

    def infer() -> dict[str, Tensor]:
        with torch.no_grad(), _autocast(inputs.device, bf16):
            return model(inputs, **options)

    return Call(infer, prepare=lambda: in_evaluation(model, infer))


def in_evaluation(model: nn.Module, infer: Callable[[], object]) -> None:
    """``model.eval()`` and a first inference, where a training step was before.

    Setting the mode drops weights that inference forms once and keeps: a run forms them once, and
    one inference after each training step would form them each time.
    """
    if model.training:
        model.eval()
        infer()


@contextmanager
def _autocast(device: torch.device, enabled: bool) -> Iterator[None]:
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
        yield
