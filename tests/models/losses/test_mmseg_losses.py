"""mmsegmentation's losses for a task: what is ignored has no part, the rest is as they say."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.models import losses as of_mmseg
from models.tiny_models import random_samples, tiny_model

from mtpeft.models.losses.build import build_loss
from mtpeft.tasks import build_tasks

CLASSES = dict(
    ce=dict(type='mmseg.CrossEntropyLoss'),
    weighted=dict(type='mmseg.CrossEntropyLoss', class_weight=[0.5, 1.0, 2.0, 1.0, 1.0]),
    sigmoid=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True),
    dice=dict(type='mmseg.DiceLoss', use_sigmoid=False),
    focal=dict(type='mmseg.FocalLoss'),
    ohem=dict(type='mmseg.OhemCrossEntropy', min_kept=10),
    tversky=dict(type='mmseg.TverskyLoss'),
    lovasz=dict(type='mmseg.LovaszLoss', reduction='none'),
    lovasz_picture=dict(type='mmseg.LovaszLoss', per_image=True),
)
BINARY = dict(
    ce=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True),
    dice=dict(type='mmseg.DiceLoss'),
    focal=dict(type='mmseg.FocalLoss'),
    lovasz=dict(type='mmseg.LovaszLoss', loss_type='binary', reduction='none'),
)
GRID = [
    *(pytest.param('semseg', cfg, id=f'classes {name}') for name, cfg in CLASSES.items()),
    *(pytest.param('sal', cfg, id=f'binary {name}') for name, cfg in BINARY.items()),
    pytest.param('depth', dict(type='mmseg.SiLogLoss'), id='values silog'),
]


def task_of(name, cfg):
    options = dict(num_classes=5) if name == 'semseg' else {}
    return build_tasks({name: dict(loss=cfg, **options)})[name]


def case(task, seed=0, holes=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, task.channels, 6, 7, generator=generator)
    label = torch.randint(task.channels if task.kind == 'classes' else 2, (2, 1, 6, 7),
                          generator=generator)  # fmt: skip
    if task.kind == 'values':
        logits, label = logits.exp(), 1 + torch.rand(2, 1, 6, 7, generator=generator)
    valid = torch.rand(2, 6, 7, generator=generator) >= holes
    return logits, label.masked_fill(~valid[:, None], task.ignore_value), valid


@pytest.mark.parametrize(('name', 'cfg'), GRID)
def test_what_is_ignored_has_no_part(name, cfg):
    task = task_of(name, cfg)
    loss = build_loss(task)
    logits, label, valid = case(task)
    other = torch.where(valid[:, None], logits, torch.full_like(logits, 5.0))
    other = other.requires_grad_()
    value = loss(other, label, valid)
    torch.testing.assert_close(value, loss(logits, label, valid))
    value.backward()
    assert value.isfinite() and value > 0
    assert not other.grad.movedim(1, -1)[~valid].any() and other.grad.isfinite().all()
    assert other.grad.any()
    nothing = loss(other, label, torch.zeros_like(valid))
    assert nothing == 0 and nothing.requires_grad


@pytest.mark.parametrize(('name', 'cfg'), GRID)
def test_without_holes_it_is_what_mmsegmentation_gives(name, cfg):
    task = task_of(name, cfg)
    logits, label, valid = case(task, holes=0)
    found = build_loss(task)(logits, label, valid)
    plain = getattr(of_mmseg, cfg['type'][6:])(**{k: v for k, v in cfg.items() if k != 'type'})
    if name == 'depth':
        expected = plain(logits, label)
    elif cfg['type'] in ('mmseg.DiceLoss', 'mmseg.FocalLoss'):
        # with class numbers mmsegmentation reads another column, or the background
        one_hot = label if name == 'sal' else F.one_hot(label[:, 0], 5).movedim(-1, 1)
        # (its mean over pictures is that of a batch of equal pictures)
        pairs = zip(logits, one_hot, strict=True)
        expected = torch.stack([plain(x[None], y[None]) for x, y in pairs]).mean()
    else:
        expected = plain(logits, label[:, 0])
    torch.testing.assert_close(found, expected.mean())


def test_cross_entropy_is_the_mean_over_valid_pixels():
    task = task_of('semseg', CLASSES['ce'])
    logits, label, valid = case(task)
    expected = F.cross_entropy(logits, label[:, 0], ignore_index=255)
    torch.testing.assert_close(build_loss(task)(logits, label, valid), expected)


def test_a_focal_loss_learns_its_class():
    """Its value for the right class is below that for any other."""
    task = task_of('semseg', CLASSES['focal'])
    label, valid = torch.full((1, 1, 2, 2), 3), torch.ones(1, 2, 2, dtype=torch.bool)
    sure_of = 9.0 * torch.eye(5).view(5, 1, 5, 1, 1).expand(5, 1, 5, 2, 2) - 4
    values = [build_loss(task)(logits, label, valid) for logits in sure_of]
    assert min(range(5), key=values.__getitem__) == 3


@pytest.mark.parametrize(('name', 'cfg', 'error', 'words'), [
    ('sal', dict(type='mmseg.CrossEntropyLoss'), ValueError, 'use_sigmoid=True'),
    ('sal', dict(type='mmseg.OhemCrossEntropy'), ValueError, "tasks of kind 'classes'"),
    ('sal', dict(type='mmseg.DiceLoss', use_sigmoid=False), ValueError, 'use_sigmoid=True'),
    ('semseg', dict(type='mmseg.LovaszLoss', loss_type='binary', per_image=True), ValueError,
     "loss_type='multi_class'"),
    ('semseg', dict(type='mmseg.SiLogLoss'), ValueError, "kind 'values'"),
    ('depth', dict(type='mmseg.FocalLoss'), ValueError, "kind 'classes' or 'binary'"),
    ('semseg', dict(type='mmseg.HuasdorffDisstanceLoss'), TypeError, 'is no loss of a.*DiceLoss'),
    ('semseg', dict(type=torch.nn.ReLU), TypeError, 'ReLU is no loss of a task'),
])  # fmt: skip
def test_what_cannot_be_learnt_is_refused_when_the_model_is_built(name, cfg, error, words):
    options = dict(num_classes=5) if name == 'semseg' else {}
    with pytest.raises(error, match=f"'{name}'.*{words}"):
        tiny_model(tasks={name: dict(loss=cfg, **options)})


def test_a_model_learns_with_them():
    model = tiny_model(tasks=dict(
        semseg=dict(num_classes=5, loss=CLASSES['focal']), depth=dict(),
        sal=dict(loss=BINARY['dice']),
    ))  # fmt: skip
    samples = random_samples([(16, 16)] * 2)
    x = torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    values = []
    for _ in range(12):
        losses = model(x, samples, mode='loss')
        values.append({k: float(v.detach()) for k, v in losses.items() if k.startswith('raw')})
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    assert all(values[-1][name] < values[0][name] for name in values[0])
