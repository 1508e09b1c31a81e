"""More of a network trained from some point of the training on."""

import re
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mtpeft.hooks.recipe_hook import ensure_recipe
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Index
from mtpeft.utils.suggest import hint


@HOOKS.register_module()
class UnfreezeHook(Hook):
    """Unfreezes parameters after so many epochs, or iterations.

    They join the optimizer with the options that its constructor has for them (weight decay,
    ``custom_keys``), at the rate to which schedulers have brought the others
    (:class:`~mtpeft.hooks.RecipeHook`). Checkpoints hold them, and a resumed run goes on with them,
    bit for bit on a CPU. For several steps list several hooks.

    Args:
        parameters: Patterns: a run of whole pieces of a name, such as ``'layers.3'`` or
            ``'decoder'``, or a regular expression of a whole name behind ``'re:'``.
        epoch: After so many epochs.
        iteration: After so many iterations. One of the two is given.

    Raises:
        ValueError: neither or both of ``epoch`` and ``iteration`` are given, or a pattern is that
            of no parameter (the nearest names are given).

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(False)
        >>> UnfreezeHook(['1'], epoch=3).unfreeze(net)
        ['1.weight', '1.bias']
    """

    def __init__(
        self,
        parameters: Sequence[str],
        epoch: Index | None = None,
        iteration: Index | None = None,
    ) -> None:
        if (epoch is None) == (iteration is None):
            raise ValueError(f'Expected epoch or iteration, got {epoch=} and {iteration=}.')
        if isinstance(parameters, str) or not parameters:
            raise ValueError(f'Expected parameters to be a list of patterns, got {parameters!r}.')
        self.parameters = list(parameters)
        self.epoch, self.iteration = epoch, iteration
        self._done = False

    def before_run(self, runner: Runner) -> None:
        ensure_recipe(runner)

    def before_train(self, runner: Runner) -> None:
        """Name a wrong pattern at the start, and not after hours."""
        self._named(unwrap(runner.model))
        if self.epoch is not None and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                f'UnfreezeHook: epoch={self.epoch}, but IterBasedTrainLoop counts no epochs. Give '
                'iteration.'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        if self.epoch is not None and runner.epoch >= self.epoch:
            self._unfreeze(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.iteration is not None and runner.iter >= self.iteration and not self._done:
            self._unfreeze(runner)

    def unfreeze(self, model: nn.Module) -> list[str]:
        """Unfreeze what the patterns name; the names of what was frozen."""
        named = self._named(model)
        frozen = [name for name, parameter in named.items() if not parameter.requires_grad]
        for name in frozen:
            named[name].requires_grad_(True)
        return frozen

    def _unfreeze(self, runner: Runner) -> None:
        self._done = True
        names = self.unfreeze(unwrap(runner.model))
        if names:
            what = f'{len(names)} parameters, {names[0]} to {names[-1]}'
            runner.logger.info(f'Unfrozen from iteration {runner.iter} on: {what}.')

    def _named(self, model: nn.Module) -> dict[str, nn.Parameter]:
        found: dict[str, nn.Parameter] = {}
        parameters = dict(model.named_parameters())
        for pattern in self.parameters:
            hits = {name: p for name, p in parameters.items() if _matches(name, pattern)}
            if not hits:
                pieces = {piece for name in parameters for piece in name.split('.')}
                raise ValueError(
                    f"UnfreezeHook: '{pattern}' is the pattern of no parameter. "
                    + hint(pattern, {p for p in pieces if not p.isdigit()})
                )
            found.update(hits)
        return found


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith('re:'):
        return re.fullmatch(pattern[3:], name) is not None
    return f'.{pattern}.' in f'.{name}.'
