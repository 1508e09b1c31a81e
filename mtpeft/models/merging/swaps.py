"""Modules that stand in for others until those come back."""

from collections.abc import Callable

from mmengine.logging import print_log
from torch import Tensor, nn

from mtpeft.models.merging.report import MergeReport


class Swaps:
    """Which modules of a network were set aside, and where they belong.

    What is set aside is no part of the network: it is in no state dict and has no gradients.

    Example:
        >>> net, swaps = nn.Sequential(nn.Linear(2, 2)), Swaps()
        >>> swaps.put(net, '0', nn.Identity())
        >>> swaps.undo(net)
        >>> net[0]
        Linear(in_features=2, out_features=2, bias=True)
    """

    def __init__(self) -> None:
        self.aside: list[tuple[str, nn.Module]] | None = []

    def put(self, root: nn.Module, name: str, new: nn.Module) -> None:
        """Put ``new`` in the place of the module ``name`` of ``root``."""
        owner, attribute = _place(root, name)
        old = getattr(owner, attribute)
        self.aside.append((name, old))
        setattr(owner, attribute, new.train(old.training))

    def undo(self, root: nn.Module) -> None:
        """Put everything back, the last first.

        Raises:
            RuntimeError: it was given up.
        """
        if self.aside is None:
            raise RuntimeError(
                'This model has merged weights only (it was loaded from a merged file, or merged '
                'with reversible=False), so there is nothing to go back to. Build it of its config '
                'and load the checkpoint of its training.'
            )
        while self.aside:
            name, old = self.aside.pop()
            owner, attribute = _place(root, name)
            setattr(owner, attribute, old)

    def give_up(self) -> None:
        """Let go of what was set aside: it cannot come back."""
        self.aside = None

    def apply(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move or cast what was set aside as the network is."""
        for _, module in self.aside or ():
            module._apply(function)


def _place(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    owner, _, attribute = name.rpartition('.')
    return root.get_submodule(owner), attribute


class Merging(nn.Module):
    """Mixin: a module whose adapters can be merged, for inference only.

    A class defines :meth:`_merge`, and :meth:`_after_unmerging` where there is something to do.
    """

    _swaps: Swaps | None = None
    _report: MergeReport | None = None

    @property
    def merged(self) -> bool:
        """Are the adapters merged into the weights?"""
        return self._swaps is not None

    @property
    def merge_report(self) -> MergeReport | None:
        """What was merged, ``None`` for a module that is not."""
        return self._report if self.merged else None

    def merge_adapters(self, reversible: bool = True, log: bool = True) -> MergeReport:
        """Merge the adapters into the weights, for inference; the outputs stay the same.

        * A layer that only the shared stream passes becomes the plain layer with the merged weight.
        * Lanes that are changes of the weight become one weight for each task.
        * Of lanes that read the shared stream (``frozen_input='shared'``), the shared path is
          merged where that takes fewer operations; the lanes stay.
        * What is no change of a weight is left as it is.
        * A BatchNorm is folded into the convolution before it where nothing else reads that; one
          inside a block that runs once for the shared stream and again for the lanes is kept.
        * A shared base of heads becomes a convolution for each task.

        The module is put in eval mode and cannot be trained until :meth:`unmerge_adapters`. Its
        state dict is the merged one.

        Args:
            reversible: ``False``: let go of the adapters, which saves their memory.
            log: Log the table of what was merged.

        Returns:
            What was merged, and what was left and why.

        Raises:
            RuntimeError: it is merged already.
        """
        self.refuse_if_merged('It cannot be merged again')
        self.eval()
        self._swaps, report = Swaps(), MergeReport()
        try:
            self._merge(self._swaps, report, reversible)
        except BaseException:
            self.unmerge_adapters()
            raise
        if not reversible:
            self._swaps.give_up()
        self._report = report
        if log:
            print_log(str(report), logger='current')
        return report

    def unmerge_adapters(self) -> None:
        """Put the very modules back that :meth:`merge_adapters` set aside.

        Raises:
            RuntimeError: they were let go of.
        """
        if self._swaps is None:
            return
        self._swaps.undo(self._root())
        self._swaps = None
        self._after_unmerging()

    def _root(self) -> nn.Module:
        """What the names in swaps are names in."""
        return self

    def _merge(self, swaps: Swaps, report: MergeReport, reversible: bool) -> None:
        """Merge, in place."""
        raise NotImplementedError

    def _after_unmerging(self) -> None:
        """What else has to come back."""

    def refuse_if_merged(self, what: str) -> None:
        """Raise RuntimeError where ``what`` needs the adapters."""
        if self.merged:
            raise RuntimeError(
                f'{what}: the adapters of this {type(self).__name__} are merged, for inference '
                'only. Call unmerge_adapters() first.'
            )

    def train(self, mode: bool = True) -> 'Merging':
        if mode:
            self.refuse_if_merged('It cannot be trained')
        return super().train(mode)

    def _apply(self, function: Callable[[Tensor], Tensor], *args: bool) -> nn.Module:
        if self._swaps is not None:
            self._swaps.apply(function)
        return super()._apply(function, *args)
