"""TS-PD, the task-spectral pyramidal decoder of FAAR."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from mtpeft.models.build import build_module
from mtpeft.models.necks.spectra import to_pixels, to_spectrum
from mtpeft.models.necks.spectral_filter import filtered_spectra
from mtpeft.models.necks.spectral_neck import SpectralNeck, Streams
from mtpeft.registry import MODELS
from mtpeft.tasks import TaskSpec

_DEFAULTS: Mapping = MappingProxyType({})


@MODELS.register_module()
class TSPD(SpectralNeck):
    r"""TS-PD: CW-SP, then XT-Cons (FAAR, arXiv 2603.20403).

    Each task's spectrum is filtered (:class:`~mtpeft.models.necks.ChannelwiseSpectralFilter`) and
    then moved to the consensus of the others
    (:class:`~mtpeft.models.necks.CrossTaskConsensus`), which is made of the features as they were
    *before* the filters. Both work on spectra, so one transform and one inverse a level suffice, of
    all tasks at once.

    ``x`` is ``(B, C, H, W)`` of any height and width. A task has, over its L levels of c channels
    and (h, w) pixels, ``sum(c h (w // 2 + 1) + 2 c) + 5 L`` parameters: 69,104 with widths (18, 36,
    72, 144) and pictures of 448; with ``filter='radial'`` ``sum((bins + 2) c) + 5 L``, 4,880. They
    are named ``cw_sp.filters.<task>.<level>...`` and ``xt_cons.bands.<task>.<level>...``.

    Args:
        in_channels: Widths of the levels, from the backbone where the model builds the neck.
        tasks: The model's tasks. ``None``: one stream, a tuple in and a tuple out, as mmseg's
            models expect of a neck. One stream is filtered only: there is no consensus.
        base_sizes: Height and width of each level, for filters with a weight a frequency. From the
            model where it has ``img_size``.
        cw_sp: Options of :class:`~mtpeft.models.necks.ChannelwiseSpectralFilter` (``filter``,
            ``bins``, ...), ``None``: no filters.
        xt_cons: Options of :class:`~mtpeft.models.necks.CrossTaskConsensus` (``low``), ``None``:
            no consensus.
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Raises:
        TypeError: an option of a part is unknown.
        ValueError: both parts are ``None``, or a value is not one of its part's.

    Example:
        >>> import torch
        >>> neck = TSPD((18, 36, 72, 144), tasks=['semseg', 'human_parts', 'sal', 'normals'],
        ...             base_sizes=((56, 56), (28, 28), (14, 14), (14, 14)))
        >>> sum(p.numel() for p in neck.parameters()) == 4 * 69_104
        True
        >>> levels = tuple(torch.rand(1, c, 6, 7) for c in (18, 36, 72, 144))
        >>> [tuple(level.shape) for level in neck(levels)['sal']]
        [(1, 18, 6, 7), (1, 36, 6, 7), (1, 72, 6, 7), (1, 144, 6, 7)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        tasks: TaskSpec | None = None,
        base_sizes: Sequence[tuple[int, int]] | None = None,
        cw_sp: Mapping | None = _DEFAULTS,
        xt_cons: Mapping | None = _DEFAULTS,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, tasks, init_cfg)
        if cw_sp is None and xt_cons is None:
            raise ValueError(
                'TSPD expected options for `cw_sp`, `xt_cons` or both (dict() for the defaults), '
                'got None for both. To go without, leave TSPD out of `necks`.'
            )
        known = dict(in_channels=in_channels, tasks=tasks)
        sized = known if base_sizes is None else dict(known, base_sizes=base_sizes)
        self.cw_sp = _part('ChannelwiseSpectralFilter', cw_sp, sized)
        self.xt_cons = _part('CrossTaskConsensus', xt_cons, known)

    @property
    def reads_others(self) -> bool:
        return self.xt_cons is not None and self.xt_cons.reads_others

    def transform(self, streams: Streams) -> Streams:
        if self.xt_cons is None or len(streams) == 1:
            return streams if self.cw_sp is None else self.cw_sp.transform(streams)
        if self.cw_sp is None:
            return self.xt_cons.transform(streams)
        levels = [self._level(streams, i) for i in range(len(self.out_channels))]
        return dict(zip(streams, zip(*levels, strict=True), strict=True))

    def _level(self, streams: Streams, i: int) -> tuple[Tensor, ...]:
        """A level of every stream, by one transform and one inverse for all of them."""
        size = self.xt_cons.common_size(streams, i)
        spectra = to_spectrum(torch.stack([levels[i] for levels in streams.values()]))
        filters = [self.cw_sp.filters[name][i] for name in streams]
        filtered = filtered_spectra(filters, spectra, size)
        moved = self.xt_cons.on_spectra(list(streams), i, filtered, spectra, size)
        return to_pixels(moved, size).unbind()


def _part(kind: str, options: Mapping | None, known: dict) -> SpectralNeck | None:
    return None if options is None else build_module({'type': kind, **known, **options})
