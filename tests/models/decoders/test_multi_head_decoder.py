"""A head a task, mmseg's among them."""

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mtpeft.models import HRNetHead, MultiHeadDecoder, ProjectionNeck, parameter_components
from mtpeft.registry import MODELS

WIDTHS = (4, 6, 8, 8)
TASKS = dict(semseg=dict(num_classes=5), sal=dict(), normals=dict())
BN = dict(type='BN')
MMSEG_HEADS = {
    'UPerHead': dict(channels=8, norm_cfg=BN),
    'SegformerHead': dict(channels=8, norm_cfg=BN),
    'FCNHead': dict(channels=8, num_convs=1, norm_cfg=BN),
    'PSPHead': dict(channels=8, norm_cfg=BN),
    'DepthwiseSeparableASPPHead': dict(channels=8, c1_in_channels=0, c1_channels=0, norm_cfg=BN),
    'FPNHead': dict(channels=8, feature_strides=[4, 8, 16, 16], norm_cfg=BN),
}


def levels(batch=2):
    torch.manual_seed(0)
    return tuple(torch.rand(batch, c, s, s) for c, s in zip(WIDTHS, (16, 8, 4, 4), strict=True))


def mmseg_decoder(kind, **options):
    head = dict(type=f'mmseg.{kind}', **{**MMSEG_HEADS[kind], **options})
    return MultiHeadDecoder(TASKS, WIDTHS, head=head)


@pytest.mark.parametrize('kind', MMSEG_HEADS)
def test_mmseg_head_forward_and_backward(kind):
    decoder = mmseg_decoder(kind)
    logits = decoder(levels())
    assert {name: x.shape[:2] for name, x in logits.items()} == {
        'semseg': (2, 5), 'sal': (2, 1), 'normals': (2, 3)
    }  # fmt: skip
    sum(x.square().sum() for x in logits.values()).backward()
    trainable = {n: p for n, p in decoder.named_parameters() if p.requires_grad}
    assert trainable and all(p.grad is not None for p in trainable.values())


@pytest.mark.parametrize('scope', ['mtpeft', 'mmseg', None])
@pytest.mark.parametrize('kind', ['UPerHead', 'SegformerHead'])
def test_heads_build_under_any_default_scope(kind, scope):
    cfg = dict(
        type='mtpeft.MultiHeadDecoder', tasks=TASKS, in_channels=WIDTHS,
        head=dict(type='HRNetHead'), heads=dict(sal=dict(type=f'mmseg.{kind}', channels=8)),
    )  # fmt: skip
    if scope is None:
        decoder = MODELS.build(cfg)
    else:
        with DefaultScope.overwrite_default_scope(scope):
            decoder = MODELS.build(cfg)
    assert type(decoder.heads['sal']).__name__ == kind
    assert isinstance(decoder.heads['semseg'], HRNetHead)


@pytest.mark.parametrize(
    ('options', 'level'), [(dict(), 3), (dict(in_index=1), 1), (dict(in_index=0, in_channels=4), 0)]
)
def test_mmseg_head_of_one_level(options, level):
    decoder = mmseg_decoder('FCNHead', **options)
    streams = list(levels())
    wanted = decoder.eval()(streams)['sal']
    streams = [x if i == level else torch.zeros_like(x) for i, x in enumerate(streams)]
    torch.testing.assert_close(decoder(streams)['sal'], wanted)
    assert wanted.shape[-2:] == streams[level].shape[-2:]


def test_mmseg_head_of_some_levels():
    decoder = mmseg_decoder('SegformerHead', in_index=[1, 3])
    assert decoder(levels())['sal'].shape == (2, 1, 8, 8)


def test_sync_bn_works_without_a_gpu():
    decoder = mmseg_decoder('UPerHead', norm_cfg=dict(type='SyncBN'))
    if torch.cuda.is_available():
        decoder, x = decoder.cuda(), tuple(x.cuda() for x in levels())
    else:
        x = levels()
    assert decoder.train()(x)['sal'].shape[:2] == (2, 1)


def test_parameters_that_reach_nothing_are_frozen_and_the_loss_is_gone():
    from mmseg.models.decode_heads import FCNHead

    class Wasteful(FCNHead):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.spare = nn.Linear(2, 2)

    head = dict(type=Wasteful, channels=8, num_convs=1)
    decoder = MultiHeadDecoder(['sal'], WIDTHS, head=head)
    frozen = [n for n, p in decoder.named_parameters() if not p.requires_grad]
    assert frozen == ['heads.sal.spare.weight', 'heads.sal.spare.bias']
    assert list(decoder.heads['sal'].loss_decode.parameters()) == []


@pytest.mark.parametrize(
    'head',
    [
        dict(type='mmseg.FCNHead', channels=8, in_channels=5),
        dict(type='mmseg.FCNHead', channels=8, num_classes=9, out_channels=9),
        dict(type='mmseg.EncHead', channels=8, in_index=[1, 2, 3]),
    ],
)
def test_mmseg_head_that_does_not_fit(head):
    with pytest.raises(ValueError, match=r"task 'normals': expected logits \(B, 3, h, w\)"):
        MultiHeadDecoder(['normals'], WIDTHS, head=head)


def test_overrides_and_streams():
    decoder = MultiHeadDecoder(
        TASKS, WIDTHS, head=dict(type='HRNetHead', channels=8), heads=dict(sal=dict(channels=4))
    )
    assert decoder.heads['sal'].conv1.out_channels == 4
    assert decoder.heads['semseg'].conv1.out_channels == 8
    streams = {name: levels() for name in TASKS}
    streams['sal'] = tuple(torch.zeros_like(x) for x in levels())
    one, shared = decoder.eval()(streams), decoder(levels())
    torch.testing.assert_close(one['normals'], shared['normals'])
    assert one['sal'].flatten(2).var(-1).max() < 1e-12


def test_one_task():
    decoder = MultiHeadDecoder(['depth'], WIDTHS, head=dict(type='HRNetHead'))
    assert list(decoder(levels())) == ['depth']


def test_errors_name_what_to_do():
    with pytest.raises(KeyError, match="Did you mean 'semseg'"):
        MultiHeadDecoder(TASKS, WIDTHS, heads=dict(semsg=dict(type='HRNetHead')))
    with pytest.raises(ValueError, match="Task 'sal' has no head"):
        MultiHeadDecoder(['sal'], WIDTHS)
    with pytest.raises(KeyError, match='HRNetHead'):
        MultiHeadDecoder(['sal'], WIDTHS, head=dict(type='HRNetHaed'))
    with pytest.raises(TypeError, match="no option 'chanels'"):
        MultiHeadDecoder(['sal'], WIDTHS, head=dict(type='HRNetHead', chanels=3))


def test_published_decoder_of_pascal():
    tasks = dict(semseg=dict(num_classes=21), human_parts=dict(), sal=dict(), normals=dict())
    neck = ProjectionNeck((192, 384, 768, 768), tasks)
    decoder = MultiHeadDecoder(tasks, neck.out_channels, head=dict(type='HRNetHead'))
    assert parameter_components(nn.Sequential(neck, decoder)) == {
        'projections': 732_672, 'heads': 1_213_952
    }  # fmt: skip
