"""The model: backbone, necks, decoder, and a loss a task."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel, ModuleDict, ModuleList
from torch import Tensor, nn

from mtpeft.models.adapter_sets import by_chosen
from mtpeft.models.backbones import AdapterBackbone
from mtpeft.models.build import build_module, number_type, unused_parameters
from mtpeft.models.checks import check_channels, check_names, check_streams, not_finite
from mtpeft.models.data_preprocessor import pad
from mtpeft.models.level_shapes import check_img_size, shapes_behind, shapes_of
from mtpeft.models.losses.build import build_loss
from mtpeft.models.losses.reduce import mean_over_processes
from mtpeft.models.merging.model import merge_decoder
from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Merging, Swaps
from mtpeft.models.plain_labels import Labels, samples_of
from mtpeft.models.prediction import TestCfg, TestOptions, Tta, test_options
from mtpeft.models.prediction.predict import Network, predictions, sizes_of, wide
from mtpeft.models.requested import asked_of, call
from mtpeft.models.sharing import Sharing, made_with
from mtpeft.models.task_loss import task_loss
from mtpeft.registry import MODELS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.structures.levels import resize
from mtpeft.tasks import DenseTask, TaskSpec, build_tasks
from mtpeft.utils.kinds import Part, Size
from mtpeft.utils.requested import requested_tasks
from mtpeft.utils.suggest import hint


@MODELS.register_module()
class MultiTaskModel(Sharing, Merging, BaseModel):
    """Dense predictions of several tasks from one picture, in one pass.

    Pictures ``(B, 3, H, W)`` -> backbone (a tuple of levels, or one a task) -> necks -> decoder ->
    logits a task. Pictures of any size: they are padded with 0 at the right and bottom to what the
    backbone needs, and the logits are cropped back.

    What parts need to know they are told, where their config does not say it: the backbone the
    names of the tasks, necks and decoder the tasks and the widths of the levels (necks their sizes
    for pictures of ``img_size`` too), the loss weighting and the preprocessor the tasks.

    Args:
        tasks: The tasks, see :func:`mtpeft.tasks.build_tasks`.
        backbone: Config of the backbone. Its ``out_channels`` and ``size_divisor`` are read.
        decoder: Config of the decoder, such as ``dict(type='MultiHeadDecoder', head=...)``.
        necks: Configs of necks, applied in order.
        loss_weighting: Config of the weighting. Default: ``FixedWeighting``.
        data_preprocessor: Config of the preprocessor. Default: ``MultiTaskDataPreprocessor``.
        check_finite: Stop when a loss is not finite.
        channels_last: Keep pictures and kernels of convolutions channels last in memory, which
            convolutions may be faster with. The numbers are the same but for rounding.
        img_size: Height and width of the pictures the model is trained with, in a config
            ``{{_base_.size}}``. Necks with a weight a frequency (``TSPD``) need it; pictures of
            other sizes are fine.
        test_cfg: How pictures are predicted, such as ``dict(mode='slide', crop_size=(512, 512),
            stride=(341, 341))``, see :class:`~mtpeft.models.prediction.TestCfg`. Default: each in
            one pass.
        tta: Test-time augmentation, such as ``dict(flip=True, scales=(.75, 1, 1.25))``, see
            :class:`~mtpeft.models.prediction.Tta`. Default: none.
        init_cfg: Initialisation, see ``mmengine.model.BaseModule``.

    Attributes:
        tasks (dict[str, DenseTask]): The tasks by name.
        test_options (TestOptions): ``test_cfg`` and ``tta``.

    Raises:
        ValueError: a task's name contains 'loss' (MMEngine sums what is called so); the streams of
            the backbone are not the model's tasks; ``img_size`` is not a height and a width; an
            option of ``test_cfg`` or ``tta`` is out of its range.

    Example:
        >>> model = MultiTaskModel(
        ...     tasks=['sal', 'depth'],
        ...     backbone=dict(type='mmseg.ResNet', depth=18, base_channels=8, stem_channels=8),
        ...     necks=[dict(type='ProjectionNeck', in_channels=(8, 16, 32, 64))],
        ...     decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)))
        >>> {name: tuple(x.shape) for name, x in model(torch.rand(2, 3, 33, 40)).items()}
        {'sal': (2, 1, 33, 40), 'depth': (2, 1, 33, 40)}
    """

    _merged_backbone = False

    def __init__(
        self,
        tasks: TaskSpec,
        backbone: Part | nn.Module,
        decoder: Part | nn.Module,
        necks: Sequence[Part | nn.Module] | None = None,
        loss_weighting: Part | None = None,
        data_preprocessor: Part | nn.Module | None = None,
        check_finite: bool = True,
        channels_last: bool = False,
        img_size: tuple[Size, Size] | None = None,
        test_cfg: TestCfg | None = None,
        tta: Tta | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        given = made_with('MultiTaskModel', locals())
        built = build_tasks(tasks)
        known = list(built.values())
        super().__init__(
            build_module(data_preprocessor or dict(type='MultiTaskDataPreprocessor'), tasks=known),
            init_cfg,
        )
        check_names(built)
        self.given = given
        self.tasks: dict[str, DenseTask] = built
        self.check_finite, self.test_options = check_finite, test_options(test_cfg, tta)
        self._memory_format = torch.channels_last if channels_last else torch.preserve_format
        self.backbone = build_module(backbone, tasks=list(built))
        check_streams(self.backbone, built)
        if data_preprocessor is not None:
            check_channels(self.data_preprocessor, self.backbone)
        self.img_size = check_img_size(img_size)
        padded = None if img_size is None else self._padded(self.img_size)
        shapes = shapes_of(self.backbone, padded)
        self.necks = ModuleList()
        for cfg in necks or ():
            self.necks.append(build_module(cfg, tasks=known, **shapes))
            shapes = shapes_behind(self.necks[-1], shapes)
        # a decoder may be switched by the frequencies of the backbone's lanes
        clock = getattr(self.backbone, 'clock', None)
        self.decoder = build_module(decoder, tasks=known, clock=clock, **shapes)
        self.losses = ModuleDict({name: build_loss(task) for name, task in built.items()})
        self.loss_weighting = build_module(
            loss_weighting or dict(type='FixedWeighting'), tasks=known
        )
        for parameter in self.parameters() if channels_last else ():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        # DistributedDataParallel reads this name: parameters without a gradient stall its reducer
        self._ddp_params_and_buffers_to_ignore = unused_parameters(self.backbone)

    @by_chosen
    def forward(
        self,
        inputs: Tensor,
        data_samples: Labels | None = None,
        mode: str = 'tensor',
        tasks: Sequence[str] | None = None,
        **options: Any,
    ) -> dict[str, Tensor] | list[MultiTaskDataSample]:
        """Logits, losses or predictions.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: One sample a picture.
            mode: ``'tensor'``: logits ``(B, C, H, W)`` by task; ``'loss'``: see :meth:`loss`;
                ``'predict'``: see :meth:`predict`.
            tasks: Names of the tasks that are wanted, all by default; not with ``mode='loss'``.
                What belongs to others is not computed: their lanes, necks and heads. Where tasks
                read one another (XT-Cons), only the other heads are saved.
            **options: Of :meth:`predict`, with ``mode='predict'``.

        Raises:
            KeyError, TypeError: an unknown task; an option that the mode does not have.
        """
        if options and mode != 'predict':
            raise TypeError(f"{', '.join(options)}: of mode='predict', got mode='{mode}'.")
        if mode == 'tensor':
            size = inputs.shape[-2:]
            logits = self._logits(inputs, tasks)
            return {name: self._to_input(x, inputs)[..., : size[0], : size[1]]
                    for name, x in logits.items()}  # fmt: skip
        if mode == 'loss':
            if data_samples is None:
                raise ValueError("mode='loss' needs data_samples, got None.")
            if tasks is not None:
                raise ValueError(f"mode='loss' is of all tasks, got tasks={list(tasks)}.")
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples, tasks, **options)
        raise ValueError(f"mode='{mode}' is unknown. " + hint(mode, ('tensor', 'loss', 'predict')))

    @by_chosen
    def loss(self, inputs: Tensor, data_samples: Labels) -> dict[str, Tensor]:
        """Losses of a batch.

        A picture without a label for a task does not take part in that task's loss; without any
        such label the loss is 0 and still connected to every parameter. Under
        DistributedDataParallel every process has to call this equally often.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: One a picture, or tensors by task, see :func:`samples_of`.

        Returns:
            ``loss_<task>``: this process's share of the weighted losses, which sum to the
            objective; ``raw_<task>``: losses without weights, over all processes, to be logged.

        Raises:
            FloatingPointError: a loss is not finite; the task and its pictures are named.
            RuntimeError: the adapters are merged.
        """
        self.refuse_if_merged("mode='loss'")
        if isinstance(data_samples, Mapping):
            data_samples = samples_of(data_samples, self.tasks, len(inputs))
        logits = self._logits(inputs)
        at_input = functools.partial(self._to_input, inputs=inputs)
        raw = {name: task_loss(task, self.losses[name], logits[name], data_samples, at_input)
               for name, task in self.tasks.items()}  # fmt: skip
        mean = mean_over_processes(torch.stack([value.float() for value in raw.values()]))
        values = dict(zip(raw, mean, strict=True))
        if self.check_finite and not torch.isfinite(mean).all():
            # the mean is the same in every process, so all of them stop here together
            raise FloatingPointError(not_finite(values, raw, logits, data_samples))
        weighted = self.loss_weighting(raw, values)
        losses = {f'loss_{name}': value for name, value in weighted.items()}
        return {**losses, **{f'raw_{name}': value for name, value in values.items()}}

    @by_chosen
    def predict(
        self,
        inputs: Tensor,
        data_samples: Sequence[MultiTaskDataSample] | None = None,
        tasks: Sequence[str] | None = None,
        probabilities: bool = False,
        test_options: TestOptions | None = None,
    ) -> list[MultiTaskDataSample]:
        """Predictions as field ``pred_<task>`` of each sample.

        Each is what the picture, cut out of the batch by its ``img_shape``, has alone. Logits are
        brought to the picture's size, then to the size of the labels (``label_shape``) or, without
        any, to ``ori_shape``, and activated there. Of ``tasks`` only, where they are named, at
        their cost.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: One sample a picture.
            tasks: Names of the tasks that are wanted, all by default.
            probabilities: Whether to give the probabilities of classes too, as field
                ``prob_<task>``.
            test_options: Windows and views, in place of the model's own (``test_cfg``, ``tta``).

        Returns:
            The samples; new ones where ``data_samples`` is ``None``.
        """
        if data_samples is None:
            shape = dict(img_shape=tuple(inputs.shape[-2:]))
            data_samples = [MultiTaskDataSample(metainfo=shape) for _ in inputs]
        wanted = requested_tasks(tasks, self.tasks)
        made = predictions(
            inputs,
            [sizes_of(sample, inputs) for sample in data_samples],
            {name: self.tasks[name] for name in wanted},
            Network(lambda x: self._logits(x, tasks), self._padded),
            test_options or self.test_options,
            probabilities,
        )
        for index, maps in made:
            for name, prediction in maps.items():
                data_samples[index].set_pred(name, prediction.values)
                if prediction.probabilities is not None:
                    data_samples[index].set_prob(name, prediction.probabilities)
        return list(data_samples)

    def _merge(self, swaps: Swaps, report: MergeReport, reversible: bool) -> None:
        self._merged_backbone = isinstance(self.backbone, Merging) and not self.backbone.merged
        if self._merged_backbone:
            report.rows += self.backbone.merge_adapters(reversible, log=False).rows
        merge_decoder(self, swaps, report)

    def _after_unmerging(self) -> None:
        if self._merged_backbone:
            self.backbone.unmerge_adapters()

    def _logits(self, inputs: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Logits at the resolution of the heads, of the padded input."""
        parts = [self.backbone, *self.necks, self.decoder]
        wanted = None if tasks is None else requested_tasks(tasks, self.tasks)
        x, options = pad(inputs, self._padded(inputs.shape[-2:])), self._joining
        # pictures are normalised in float32; the model may be in half or in double precision
        x = x.to(number_type(self.backbone), memory_format=self._memory_format)
        for part, asked in zip(parts, asked_of(parts, wanted), strict=True):
            x, options = call(part, x, asked, **options), {}
        return x if wanted is None else {name: x[name] for name in wanted}

    @property
    def _joining(self) -> dict[str, bool]:
        """Levels may come before their patch merging's linear map where the neck can join it."""
        joins = self.necks and getattr(self.necks[0], 'takes_unreduced', False)
        return {'unreduced': True} if joins and isinstance(self.backbone, AdapterBackbone) else {}

    def _padded(self, size: Sequence[int]) -> tuple[int, int]:
        divisor = getattr(self.backbone, 'size_divisor', 1)
        # (runtimes round the quotient of a negative number in other ways)
        height, width = ((side + divisor - 1) // divisor * divisor for side in size)
        return height, width

    def _to_input(self, logits: Tensor, inputs: Tensor) -> Tensor:
        """Float logits at the input's size, without the backbone's padding."""
        height, width = inputs.shape[-2:]
        return resize(wide(logits), self._padded((height, width)))[..., :height, :width]
