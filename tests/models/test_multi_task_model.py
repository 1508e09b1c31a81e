"""The model as a whole, on a backbone of two convolutions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from tiny_models import TASKS, PlainBackbone, TinyBackbone, random_samples, tiny_model

from mtpeft.models import MultiTaskModel
from mtpeft.registry import MODELS

SIZE = (17, 22)


def pictures(batch, size=SIZE, seed=0):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_parts_are_told_tasks_and_widths():
    model = tiny_model()
    assert model.backbone.tasks == list(TASKS) == list(model.tasks)
    assert list(model.necks[0].proj) == list(model.decoder.heads) == list(TASKS)
    assert model.necks[0].proj['sal'][1].in_channels == 8
    assert model.decoder.heads['semseg'].in_channels == (3, 4)
    assert model.decoder.heads['semseg'].conv2.out_channels == 5
    assert model.data_preprocessor.tasks['sal'].ignore_value == 255
    assert model.loss_weighting.weights['edge'] == 50
    assert tiny_model(necks=None).decoder.heads['sal'].in_channels == (6, 8)


@pytest.mark.parametrize('scope', ['mtpeft', 'mmseg'])
def test_builds_from_a_config_under_any_default_scope(scope):
    cfg = ConfigDict(
        type='mtpeft.MultiTaskModel', tasks=TASKS, backbone=dict(type=TinyBackbone),
        necks=[dict(type='ProjectionNeck', out_channels=(3, 4))],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead')),
        loss_weighting=dict(type='UncertaintyWeighting'),
    )  # fmt: skip
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(cfg)
    model.init_weights()
    assert isinstance(model, MultiTaskModel)
    assert model(pictures(1))['semseg'].shape == (1, 5, *SIZE)


@pytest.mark.parametrize('size', [(8, 8), (9, 31), (1, 5), (24, 16)])
@pytest.mark.parametrize('batch', [1, 2])
def test_any_size(size, batch):
    model = tiny_model().eval()
    logits = model(pictures(batch, size))
    assert {n: tuple(x.shape) for n, x in logits.items()} == {
        n: (batch, t.channels, *size) for n, t in model.tasks.items()
    }
    assert model.backbone.seen == [(batch, 3, *(math.ceil(s / 8) * 8 for s in size))]


def test_padding_is_zero_at_the_right_and_bottom_and_cropped():
    model = tiny_model().eval()
    x = pictures(1)
    padded = torch.zeros(1, 3, 24, 24)
    padded[..., :17, :22] = x
    for name, wanted in model(padded).items():
        torch.testing.assert_close(model(x)[name], wanted[..., :17, :22])


def test_every_task_has_its_own_stream():
    model = tiny_model(tasks=['sal', 'depth', 'normals']).eval()
    x = pictures(2)
    before = model(x)
    torch.nn.init.zeros_(model.backbone.gains['depth'])
    after = model(x)
    assert torch.equal(before['sal'], after['sal'])
    assert not torch.allclose(before['depth'], after['depth'])


@pytest.mark.parametrize(
    'backbone', [dict(type=PlainBackbone), dict(type=TinyBackbone, tasks=None)]
)
def test_a_plain_backbone_is_shared(backbone):
    model = tiny_model(backbone=backbone)
    losses = model(pictures(2), random_samples([SIZE] * 2), mode='loss')
    assert len(losses) == 2 * len(TASKS)


@pytest.mark.parametrize('tasks', [['depth'], ['edge', 'sal'], list(TASKS)[::-1]])
def test_any_number_and_order_of_tasks(tasks):
    model = tiny_model(tasks=tasks)
    samples = random_samples([SIZE] * 2)
    losses = model(pictures(2), samples, mode='loss')
    assert list(losses) == [f'loss_{t}' for t in tasks] + [f'raw_{t}' for t in tasks]
    assert set(model(pictures(2), samples, mode='predict')[0].pred) == set(tasks)


def test_order_of_tasks_does_not_change_the_result():
    a, b = tiny_model(tasks=['sal', 'depth']), tiny_model(tasks=['depth', 'sal'], seed=1)
    b.load_state_dict(a.state_dict())
    x = pictures(2)
    for name, logits in a.eval()(x).items():
        torch.testing.assert_close(b.eval()(x)[name], logits)


def test_losses_sum_to_the_weighted_objective():
    model = tiny_model(loss_weighting=dict(type='FixedWeighting', weights=dict(edge=7.0)))
    losses = model(pictures(2), random_samples([SIZE] * 2), mode='loss')
    total, logs = model.parse_losses(losses)
    weights = dict(semseg=1, human_parts=2, sal=5, normals=10, depth=1, edge=7)
    wanted = sum(weights[t] * losses[f'raw_{t}'] for t in TASKS)
    torch.testing.assert_close(total, wanted)
    assert not any(losses[f'raw_{t}'].requires_grad for t in TASKS)
    assert logs['raw_sal'] > 0


def test_loss_is_of_logits_brought_to_the_label_size():
    model = tiny_model().eval()
    samples = random_samples([SIZE] * 2)
    logits = model(pictures(2))['semseg']
    label = torch.stack([s.get_gt('semseg')[0] for s in samples])
    wanted = F.cross_entropy(logits, label, ignore_index=255)
    got = model(pictures(2), samples, mode='loss')['raw_semseg']
    torch.testing.assert_close(got, wanted.detach())
    assert logits.shape[-2:] == SIZE


def test_only_pictures_with_a_label_take_part():
    model = tiny_model().eval()
    x = pictures(3)
    labelled = [list(TASKS), ['sal'], ['sal', 'depth']]
    samples = random_samples([SIZE] * 3, labelled=labelled)
    got = model(x, samples, mode='loss')
    for name in TASKS:
        keep = [i for i in range(3) if name in labelled[i]]
        wanted = model(x[keep], [samples[i] for i in keep], mode='loss')[f'raw_{name}']
        torch.testing.assert_close(got[f'raw_{name}'], wanted)


@pytest.mark.parametrize('weighting', ['FixedWeighting', 'UncertaintyWeighting'])
@pytest.mark.parametrize('missing', [['depth'], list(TASKS)])
def test_missing_labels_give_zero_and_connected(missing, weighting):
    model = tiny_model(loss_weighting=dict(type=weighting))
    present = [t for t in TASKS if t not in missing]
    samples = random_samples([SIZE] * 2, labelled=[present] * 2)
    losses = model(pictures(2), samples, mode='loss')
    model.parse_losses(losses)[0].backward()
    for name in TASKS:
        parts = (model.decoder.heads[name], model.necks[0].proj[name])
        gradients = [p.grad for part in parts for p in part.parameters()]
        assert all(g is not None for g in gradients)
        if name in missing:
            assert losses[f'loss_{name}'] == 0
            assert all(g.eq(0).all() for g in gradients)
        else:
            assert any(g.ne(0).any() for g in gradients)


def test_no_valid_pixel_is_not_nan():
    model = tiny_model()
    samples = random_samples([SIZE] * 2)
    for sample in samples:
        sample.set_gt('human_parts', torch.full((1, *SIZE), 255))
    losses = model(pictures(2), samples, mode='loss')
    assert losses['loss_human_parts'] == 0 and losses['loss_sal'] > 0


@pytest.mark.parametrize('batch', [1, 2])
def test_train_and_val_steps_from_uint8_pictures(batch):
    model = tiny_model()
    sizes = [(17, 22), (12, 30)][:batch]
    rng = np.random.default_rng(0)
    data = dict(
        inputs=[torch.from_numpy(rng.integers(0, 256, (3, *s), dtype=np.uint8)) for s in sizes],
        data_samples=random_samples(sizes),
    )
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    start = model.decoder.heads['sal'].conv1.weight.clone()
    logs = model.train_step(data, optimizer)
    assert all(math.isfinite(v) for v in logs.values()) and f'raw_{list(TASKS)[0]}' in logs
    assert not torch.equal(start, model.decoder.heads['sal'].conv1.weight)
    samples = model.eval().val_step(data)
    assert len(samples) == batch
    for sample, size in zip(samples, sizes, strict=True):
        assert {n: tuple(p.shape) for n, p in sample.pred.items()} == dict(
            semseg=(1, *size), human_parts=(1, *size), sal=(1, *size), normals=(3, *size),
            depth=(1, *size), edge=(1, *size),
        )  # fmt: skip


def test_autocast_step_is_finite_and_close():
    model = tiny_model().eval()
    samples = random_samples([SIZE] * 2)
    wanted = model(pictures(2), samples, mode='loss')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = model(pictures(2), samples, mode='loss')
    for name, value in got.items():
        assert value.dtype is torch.float32
        torch.testing.assert_close(value, wanted[name], rtol=0.05, atol=0.05)


def test_prediction_sizes_and_kinds():
    model = tiny_model().eval()
    samples = random_samples([(9, 13), (40, 5)], labelled=[['sal'], []])
    for sample, shape in zip(samples, [(17, 22), (10, 22)], strict=True):
        sample.set_metainfo(dict(img_shape=shape, ori_shape=(50, 60)))
    first, second = model(pictures(2), samples, mode='predict')
    assert {p.shape[-2:] for p in first.pred.values()} == {(9, 13)}  # its labels' size
    assert {p.shape[-2:] for p in second.pred.values()} == {(50, 60)}  # no label: ori_shape
    pred = second.pred
    assert pred['semseg'].dtype is torch.int64 and pred['semseg'].max() < 5
    assert 0 <= pred['sal'].min() and pred['sal'].max() <= 1
    torch.testing.assert_close(pred['normals'].norm(dim=0), torch.ones(50, 60))


def test_prediction_crops_before_it_resizes_and_resizes_before_it_activates():
    model = tiny_model().eval()
    sample = random_samples([(30, 20)], labelled=[[]])[0]
    sample.set_metainfo(dict(img_shape=(10, 22)))
    logits = model(pictures(1)[..., :10, :22])  # what is beside the picture does not matter
    pred = model(pictures(1), [sample], mode='predict')[0].pred
    for name in ('sal', 'semseg', 'normals', 'depth'):
        x = F.interpolate(logits[name], size=(30, 20), mode='bilinear')
        wanted = {
            'sal': x.sigmoid(), 'semseg': x.argmax(1, keepdim=True),
            'normals': x / x.norm(dim=1, keepdim=True), 'depth': x,
        }[name][0]  # fmt: skip
        torch.testing.assert_close(pred[name], wanted)


def test_predict_without_samples():
    samples = tiny_model().eval()(pictures(2), mode='predict')
    assert [s.pred['sal'].shape for s in samples] == [(1, *SIZE)] * 2


def test_nan_names_the_task_and_its_pictures():
    model = tiny_model().eval()
    samples = random_samples([SIZE] * 3, labelled=[list(TASKS), list(TASKS), ['sal']])
    x = pictures(3)
    x[1] = float('nan')
    wanted = "'depth' is nan in pictures: picture_1.jpg"
    with pytest.raises(FloatingPointError, match=wanted) as error:
        model(x, samples, mode='loss')
    assert 'picture_0' not in str(error.value) and 'picture_2' not in str(error.value)


def test_inf_in_one_head_names_only_that_task():
    model = tiny_model().eval()
    torch.nn.init.constant_(model.decoder.heads['depth'].conv2.bias, float('inf'))
    samples = random_samples([SIZE] * 2)
    with pytest.raises(FloatingPointError, match="'depth' is (inf|nan) in") as error:
        model(pictures(2), samples, mode='loss')
    assert "'sal'" not in str(error.value)
    model.check_finite = False
    assert model(pictures(2), samples, mode='loss')['raw_depth'].isfinite().logical_not()


def test_labels_of_different_sizes_name_pictures():
    with pytest.raises(ValueError, match=r'picture_0.jpg.*picture_1.jpg'):
        tiny_model()(pictures(2), random_samples([SIZE, (4, 4)]), mode='loss')


def test_streams_and_tasks_must_agree():
    with pytest.raises(ValueError, match="has task 'depth', but the backbone has no stream"):
        tiny_model(tasks=['sal', 'depth'], backbone=dict(type=TinyBackbone, tasks=['sal']))
    with pytest.raises(ValueError, match="stream for 'depth', which is none"):
        tiny_model(tasks=['sal'], backbone=dict(type=TinyBackbone, tasks=['sal', 'depth']))


def test_names_that_would_change_the_objective():
    with pytest.raises(ValueError, match='gloss'):
        tiny_model(tasks=dict(gloss=dict(type='depth')))


def test_unknown_mode_and_missing_samples():
    with pytest.raises(ValueError, match="Did you mean 'predict'"):
        tiny_model(tasks=['sal'])(pictures(1), mode='predct')
    with pytest.raises(ValueError, match='needs data_samples'):
        tiny_model(tasks=['sal'])(pictures(1), mode='loss')


def test_unused_parameters_are_kept_from_ddp():
    model = tiny_model(tasks=['sal'], backbone=TinyBackbone(['sal'], spare=True))
    assert model._ddp_params_and_buffers_to_ignore == ['backbone.spare']
    assert 'backbone.spare' in dict(model.named_parameters())
    model.parse_losses(model(pictures(1), random_samples([SIZE]), mode='loss'))[0].backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == model._ddp_params_and_buffers_to_ignore
