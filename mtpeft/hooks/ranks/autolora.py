"""AutoLoRA: components are selected by weights learned on held-out pictures (arXiv 2403.09113)."""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast
from mmengine.runner import Runner
from torch import Tensor, nn

from mtpeft.adapters.ranks.low_rank import RankGroup
from mtpeft.adapters.ranks.scores import order_by_score
from mtpeft.checkpoints.rank_truncate import component_axes
from mtpeft.hooks.ranks.held_out import HeldOut
from mtpeft.hooks.ranks.rank_allocator import RankAllocatorHook
from mtpeft.hooks.ranks.rank_state import Tracked, averaged_copies
from mtpeft.registry import HOOKS
from mtpeft.utils.dist import unwrap
from mtpeft.utils.kinds import Count, Positive, Share


@dataclass
class Selected(Tracked):
    """Components and the logits of their weights.

    Attributes:
        logits: ``(S, rank)``.
    """

    logits: nn.Parameter

    def alpha(self) -> Tensor:
        """Weights of the active components of each stream, which sum to 1, ``(S, rank)``."""
        ranks = torch.tensor(self.group.active, device=self.logits.device)
        active = torch.arange(self.group.rank, device=self.logits.device) < ranks[:, None]
        return self.logits.masked_fill(~active, -torch.inf).softmax(1)

    def averages(self) -> Sequence[Tensor]:
        return (self.logits.data,)


@HOOKS.register_module()
class AutoLoRAHook(RankAllocatorHook):
    r"""Learns on held-out pictures how much each component counts, and drops those that do not.

    .. math:: \Delta W = s \sum_{j=1}^{r} \alpha_j\, u_j v_j^T, \qquad
              \alpha = \mathrm{softmax}(z)

    for every stream of every low-rank adapter (arXiv 2403.09113). *Search*: the training pictures
    are split; the network learns on one part as always, and after every ``every``-th iteration z
    makes a step of Adam on a batch of the other part. The gradient is first-order: the weights
    are taken as they are, not as a function of z. The batch passes in evaluation mode, so nothing
    but z learns of it. *End of the search*: components with
    :math:`\alpha_j` below a threshold are pruned for ever, alpha goes into the last factor (B of
    LoRA), whose optimizer moments go along, and training goes on.

    Streams without effect keep equal weights and their rank.

    While the search lasts, a checkpoint's state dict has alpha multiplied in, so the file alone is
    the network that was evaluated; z, its optimizer and the plain factors are in ``autolora``, and
    a resumed run is the same as an uninterrupted one.

    Args:
        holdout: Share of the training pictures that is held out, for the whole run. In their place
            the loader gives others, so an epoch keeps its number of steps.
        until: Share of the training that the search takes, in (0, 1].
        every: Iterations from one step of z to the next.
        lr: Learning rate of z.
        threshold: Least weight of a component that is kept, in (0, 1). Default: 1 / r, as
            published, the weight that all have at the start.
        min_rank: Components that a stream keeps in any case.
        restart: After the search, kept components start again without effect: their last factor
            and their optimizer moments become 0. (The paper trains anew with the ranks found.)

    Raises:
        ValueError: an option is out of its range, or the data set is too small to split.

    Example:
        >>> AutoLoRAHook(holdout=0.2).every
        1
    """

    state_key = 'autolora'
    by_epoch = False

    def __init__(
        self,
        holdout: Share = 0.1,
        until: Share = 0.5,
        every: Count = 1,
        lr: Positive = 1e-2,
        threshold: Share | None = None,
        min_rank: Count = 1,
        restart: bool = False,
    ) -> None:
        super().__init__()
        for name, value, valid, ok in (
            ('holdout', holdout, '(0, 1)', _number(holdout) and 0 < holdout < 1),
            ('until', until, '(0, 1]', _number(until) and 0 < until <= 1),
            ('every', every, 'positive integers', _count(every)),
            ('lr', lr, '(0, inf)', _number(lr) and lr > 0),
            ('threshold', threshold, '(0, 1)',
             threshold is None or (_number(threshold) and 0 < threshold < 1)),
            ('min_rank', min_rank, 'positive integers', _count(min_rank)),
        ):  # fmt: skip
            if not ok:
                raise ValueError(f'Expected {name} in {valid}, got {value!r}.')
        self.holdout = holdout
        self.until = until
        self.every = every
        self.lr = lr
        self.threshold = threshold
        self.min_rank = min_rank
        self.restart = restart

    # -- start and resume ------------------------------------------------------------------------

    def track(self, layer: str, group: RankGroup) -> Selected:
        device = next(iter(group.parameters.values())).device
        return Selected(
            layer, group, nn.Parameter(torch.zeros(len(group.streams), group.rank, device=device))
        )

    def start(self, runner: Runner) -> None:
        self.last = max(1, int(self.until * runner.max_iters))
        self.now = runner.iter
        self.copies = averaged_copies(runner)
        loop = runner.train_loop
        self.held_out = HeldOut(loop.dataloader, self.holdout, self._seed)
        self.held_out.withhold()
        if hasattr(loop, 'dataloader_iterator'):
            # workers of an iteration-based loop have already been told what to load
            loop.dataloader_iterator = type(loop.dataloader_iterator)(loop.dataloader)
        self.optimizer = torch.optim.Adam([t.logits for t in self.tracked], lr=self.lr)
        self._set_gates()

    @property
    def finished(self) -> bool:
        """The search is over."""
        return self.now >= self.last

    @torch.no_grad()
    def _set_gates(self) -> None:
        for tracked in self.tracked:
            tracked.group.gate = None if self.finished else tracked.alpha()

    def _last_factors(self) -> list[list[nn.Parameter]]:
        """Last factor of every group, in the model and in its copies."""
        factors = []
        for tracked in self.tracked:
            copied = [c[tracked.layer].groups[tracked.group.kind] for c in self.copies]
            factors.append([g.parameters[g.last] for g in (tracked.group, *copied)])
        return factors

    def state(self) -> dict:
        if self.finished:
            return {}
        return dict(
            logits={t.key: t.logits.detach().cpu() for t in self.tracked},
            optimizer=self.optimizer.state_dict(),
            factors=[[p.detach().cpu() for p in ps] for ps in self._last_factors()],
        )

    @torch.no_grad()
    def restore(self, state: Mapping) -> None:
        if self.finished:
            return
        for tracked in self.tracked:
            saved = state['logits'].get(tracked.key)
            if saved is None or saved.shape != tracked.logits.shape:
                raise self.misfit(
                    tracked.layer, f'weights of shape {tuple(tracked.logits.shape)}',
                    None if saved is None else tuple(saved.shape),
                )  # fmt: skip
            tracked.logits.copy_(saved)
        self.optimizer.load_state_dict(state['optimizer'])
        for factors, saved in zip(self._last_factors(), state['factors'], strict=True):
            # those of the state dict have alpha multiplied in
            for factor, plain in zip(factors, saved, strict=False):
                factor.data.copy_(plain)
        self._set_gates()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        super().before_save_checkpoint(runner, checkpoint)
        if self.finished:
            return
        streams = iter(component_axes(self.groups()))
        for tracked in self.tracked:
            for index, alpha in enumerate(tracked.alpha().detach().cpu()):
                key = next(streams)['last']
                axis = tracked.group.factors[tracked.group.last]
                for state, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
                    entries, name = checkpoint.get(state, {}), prefix + key
                    if name in entries:
                        weights = alpha[: tracked.group.active[index]].to(entries[name].dtype)
                        shape = [1] * entries[name].ndim
                        shape[axis] = len(weights)
                        entries[name] = entries[name].cpu() * weights.view(shape)

    # -- search ----------------------------------------------------------------------------------

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:  # fmt: skip
        if self.finished:
            return
        time = runner.iter + 1
        if time % self.every == 0:
            self._step(runner, self.held_out.batch(time // self.every))
        self.now = time
        if self.finished:
            self._finish(runner)

    def loss(self, runner: Runner, batch: Any) -> Tensor:
        """Loss of the network on a batch, as a function of z."""
        model = unwrap(runner.model)
        with _evaluating(model), self._open_gates(), runner.optim_wrapper.optim_context(model):
            data = model.data_preprocessor(batch, True)
            losses = model(**data, mode='loss') if isinstance(data, Mapping) else model(
                *data, mode='loss'
            )  # fmt: skip
            return model.parse_losses(losses)[0]

    def gradients(self, runner: Runner, batch: Any) -> list[Tensor]:
        """Of the loss by z, of all processes."""
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        scale = scaler.get_scale() if scaler is not None else 1.0
        logits = [t.logits for t in self.tracked]
        found = torch.autograd.grad(self.loss(runner, batch) * scale, logits, allow_unused=True)
        found = [torch.zeros_like(z) if g is None else g / scale
                 for z, g in zip(logits, found, strict=True)]  # fmt: skip
        for gradient in found:
            all_reduce(gradient, op='mean')
        return found

    def _step(self, runner: Runner, batch: Any) -> None:
        found = self.gradients(runner, batch)
        if not torch.stack([g.sum() for g in found]).isfinite().all():
            self.skipped += 1
            return
        for tracked, gradient in zip(self.tracked, found, strict=True):
            tracked.logits.grad = gradient
        self.optimizer.step()
        self._set_gates()

    @contextmanager
    def _open_gates(self):
        for tracked in self.tracked:
            tracked.group.gate = tracked.alpha()
        try:
            yield
        finally:
            self._set_gates()

    # -- end of the search -----------------------------------------------------------------------

    @torch.no_grad()
    def _finish(self, runner: Runner) -> None:
        for tracked in self.tracked:
            # the first process decides for all
            broadcast(tracked.logits.data)
        for tracked, factors in zip(self.tracked, self._last_factors(), strict=True):
            alpha, group = tracked.alpha(), tracked.group
            group.multiply(alpha, *(p.data for p in factors))
            # where the factor is multiplied, gradients by it are divided
            inverse = torch.where(alpha > 0, 1 / alpha, 0)
            own = factors[0]
            if own.grad is not None:
                group.multiply(inverse, own.grad)
            for name, moment in runner.optim_wrapper.optimizer.state.get(own, {}).items():
                if torch.is_tensor(moment) and moment.shape == own.shape:
                    squared = name.endswith('_sq') or name.endswith('_sqs')
                    group.multiply(inverse.square() if squared else inverse, moment)
            group.gate = None
        orders = [[self.select(a) for a in self._active(t)] for t in self.tracked]
        if self.restart:
            self._restart(runner)
        self.prune(runner, lambda: orders)

    @staticmethod
    def _active(tracked: Selected) -> list[Tensor]:
        alpha = tracked.alpha()
        return [a[:k] for a, k in zip(alpha, tracked.group.active, strict=True)]

    def select(self, alpha: Tensor) -> Tensor:
        """The components to keep of a stream with weights ``(r,)``, the highest first."""
        least = 1 / len(alpha) if self.threshold is None else self.threshold
        # rounding must not drop components whose weights are all equal
        kept = int((alpha >= least * (1 - 1e-5)).sum())
        return order_by_score(alpha)[: max(kept, self.min_rank)]

    def _restart(self, runner: Runner) -> None:
        for tracked, factors in zip(self.tracked, self._last_factors(), strict=True):
            for factor in factors:
                factor.data.zero_()
            for parameter in tracked.group.parameters.values():
                for moment in runner.optim_wrapper.optimizer.state.get(parameter, {}).values():
                    if torch.is_tensor(moment) and moment.shape == parameter.shape:
                        moment.zero_()


@contextmanager
def _evaluating(model: nn.Module):
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
