"""A backbone that learns a teacher's levels."""

import pytest
import torch
from tiny_models import TinyBackbone, random_samples
from torch import nn

from mtpeft.models import DistilledModel
from mtpeft.models.components import parameter_components
from mtpeft.models.distillation import LevelMatching
from mtpeft.registry import MODELS

SIZE = (16, 24)
MEAN, STD = (127.5, 120.0, 110.0), (127.5, 100.0, 90.0)


class Teacher(TinyBackbone):
    """Other widths, a BatchNorm, and a note of what it was shown."""

    out_channels = (5, 7)

    def __init__(self):
        super().__init__()
        self.wide = nn.ModuleList([nn.Conv2d(6, 5, 1), nn.Conv2d(8, 7, 1)])
        self.norm = nn.BatchNorm2d(5)
        self.shown = []

    def forward(self, x):
        self.shown.append(x)
        first, second = (conv(x) for conv, x in zip(self.wide, super().forward(x), strict=True))
        return self.norm(first), second


def distilled(backbone=None, teacher=None, seed=0, **options):
    torch.manual_seed(seed)
    return DistilledModel(
        tasks=['sal', 'depth'],
        backbone=backbone or dict(type=TinyBackbone),
        teacher=teacher or Teacher(),
        teacher_mean=MEAN,
        teacher_std=STD,
        necks=[dict(type='ProjectionNeck', out_channels=(3, 4))],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
        **dict(dict(distill_weights=(1.0, 3.0)), **options),
    )


def batch(seed=0, number=3):
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(number, 3, *SIZE, generator=generator)
    return pictures, random_samples([SIZE] * number, tasks=['sal', 'depth'], seed=seed)


def smooth_l1(x):
    """Huber's function with a bend at 1, averaged."""
    size = x.abs()
    return torch.where(size < 1, size**2 / 2, size - 0.5).mean()


def test_the_losses_are_those_of_the_formula_beside_those_of_the_tasks():
    model, (pictures, samples) = distilled().train(), batch()
    with torch.no_grad():
        student = next(iter(model.backbone(pictures).values()))
        values = pictures * model.data_preprocessor.std + model.data_preprocessor.mean
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
        teacher = model.teacher((values - mean) / std)
        losses = model.loss(pictures, samples)
    for i, weight in enumerate((1.0, 3.0)):
        t = teacher[i].permute(1, 0, 2, 3).flatten(1)
        # (running statistics divide by n - 1)
        t = (t - t.mean(1, keepdim=True)) / t.std(1, keepdim=True)
        proj = model.matching.proj[i]
        s = proj.weight.flatten(1) @ student[i].permute(1, 0, 2, 3).flatten(1) + proj.bias[:, None]
        torch.testing.assert_close(
            losses[f'loss_distill_{i}'], weight * smooth_l1(s - t), rtol=1e-3, atol=1e-5
        )
    assert {'loss_sal', 'loss_depth', 'raw_sal', 'raw_depth'} <= set(losses)


def test_losses_of_the_tasks_and_predictions_do_not_change():
    model, (pictures, samples) = distilled().eval(), batch()
    plain = MODELS.build(
        dict(
            type='MultiTaskModel', tasks=['sal', 'depth'], backbone=model.backbone,
            necks=list(model.necks), decoder=model.decoder,
        )
    ).eval()  # fmt: skip
    own, wanted = model.loss(pictures, samples), plain.loss(pictures, samples)
    torch.testing.assert_close({name: own[name] for name in wanted}, wanted)
    shown = len(model.teacher.shown)
    torch.testing.assert_close(model(pictures), plain(pictures))
    assert len(model.teacher.shown) == shown, 'predictions need no teacher'
    assert not model.backbone._forward_hooks


def test_targets_are_standardised_by_all_batches_so_far():
    torch.manual_seed(0)
    match = LevelMatching((2,), (4,), (1.0,))
    for parameter in match.proj.parameters():
        nn.init.zeros_(parameter)
    targets = [5 + 3 * torch.randn(6, 4, 8, 8) for _ in range(5)]
    for t in targets:
        (last,) = match([torch.zeros(6, 2, 8, 8)], [t])
    mean = torch.stack([t.mean((0, 2, 3)) for t in targets]).mean(0).view(4, 1, 1)
    variance = torch.stack([t.var((0, 2, 3)) for t in targets]).mean(0).view(4, 1, 1)
    wanted = smooth_l1((targets[-1] - mean) / variance.sqrt())
    torch.testing.assert_close(last, wanted, rtol=1e-3, atol=1e-4)
    before = match.statistics[0].running_mean.clone()
    match.eval()([torch.zeros(6, 2, 8, 8)], [100 + targets[0]])
    assert torch.equal(match.statistics[0].running_mean, before)


def test_levels_of_another_size_are_brought_to_the_students():
    torch.manual_seed(0)
    match = LevelMatching((2,), (4,), (1.0,)).eval()
    level, target = torch.randn(1, 2, 4, 6), torch.randn(1, 4, 2, 3)
    large = nn.functional.interpolate(target, (4, 6), mode='bilinear')
    torch.testing.assert_close(match([level], [target]), match([level], [large]))


def test_only_the_student_learns():
    model, (pictures, samples) = distilled().train(), batch()
    frozen = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    assert not any(p.requires_grad for p in model.teacher.parameters())
    assert not model.teacher.training and not model.teacher.norm.training
    losses = model.loss(pictures, samples)
    sum(losses[f'loss_distill_{i}'] for i in range(2)).backward()
    learning = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {n.split('.')[0] for n in learning} == {'backbone', 'matching'}
    assert {'backbone.stem.weight', 'backbone.down.weight'} <= learning
    torch.testing.assert_close(dict(model.teacher.state_dict()), frozen, rtol=0, atol=0)


def test_the_loss_falls():
    """A student can copy a linear map of its own features."""
    model, (pictures, samples) = distilled().train(), batch()
    optimiser = torch.optim.Adam([*model.backbone.parameters(), *model.matching.parameters()], 1e-2)
    course = []
    for _ in range(60):
        losses = model.loss(pictures, samples)
        loss = losses['loss_distill_0'] + losses['loss_distill_1']
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        course.append(loss.item())
    assert course[-1] < 0.5 * course[0]


def test_projections_are_a_component_of_their_own():
    counts = parameter_components(distilled())
    assert counts['distillation'] == (6 + 1) * 5 + (8 + 1) * 7


def test_a_failing_loss_leaves_no_hook():
    model, (pictures, samples) = distilled(), batch()
    with pytest.raises(FloatingPointError):
        model.loss(pictures * float('nan'), samples)
    assert not model.backbone._forward_hooks


def test_one_stream_and_equal_numbers_of_levels_are_asked_for():
    with pytest.raises(ValueError, match=r'levels of the student \(\(6, 8\) channels\)'):
        distilled(distill_weights=(1.0, 1.0, 1.0))
    laned = dict(
        type='AdapterBackbone',
        backbone=dict(
            type='timm.swin_tiny_patch4_window7_224', embed_dim=8, depths=(1, 1), num_heads=(1, 1)
        ),
        plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=['fc1'], lanes='task')],
    )
    with pytest.raises(ValueError, match="leave out plugins with lanes='task'"):
        distilled(laned)
