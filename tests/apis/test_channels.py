"""Pictures of other channels than three, from files to drawings: RGB-D, grey, multispectral."""

import numpy as np
import pytest
import timm
import torch
from helpers.engine import tiny, train
from PIL import Image
from timm.models import adapt_input_conv

from mtpeft.apis import MultiTaskInferencer
from mtpeft.apis.inference import draw_predictions
from mtpeft.datasets import DataFileError, FolderMT
from mtpeft.models import AdapterBackbone, MultiTaskDataPreprocessor, MultiTaskModel
from mtpeft.models.backbones.families.base import channels_in
from mtpeft.registry import TRANSFORMS
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import build_tasks
from mtpeft.visualization.visualizer import photograph

SIZE = (32, 40)
DEPTH = dict(path='d/{id}.png', scale=1 / 1000)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('rgbd')
    draw = np.random.default_rng(0)
    for kind in ('rgb', 'd', 'm', 'ms'):
        (folder / kind).mkdir()
    for i in range(4):
        Image.fromarray(draw.integers(0, 255, (*SIZE, 3), np.uint8)).save(folder / f'rgb/{i}.png')
        Image.fromarray(draw.integers(1, 9999, SIZE, np.uint16)).save(folder / f'd/{i}.png')
        Image.fromarray(draw.integers(0, 2, SIZE, np.uint8)).save(folder / f'm/{i}.png')
        np.save(folder / f'ms/{i}.npy', draw.random((*SIZE, 6)))
    return folder


def data(root, images='rgb/{id}.png', **options):
    return FolderMT(['sal'], str(root), images, dict(sal='m/{id}.png'), split=None, **options)


def test_depth_is_a_fourth_channel(root):
    img = data(root, channels=[DEPTH]).load_sample(1)['img']
    rgb = np.asarray(Image.open(root / 'rgb/1.png')).astype(np.float32)
    assert img.dtype == np.float32 and np.array_equal(img[..., 2::-1], rgb)
    metres = np.asarray(Image.open(root / 'd/1.png')) / 1000
    np.testing.assert_allclose(img[..., 3], metres, rtol=1e-6)
    assert data(root, 'ms/{id}.npy').load_sample(0)['img'].shape == (*SIZE, 6)


def test_a_channel_of_another_size_is_named(root, tmp_path):
    Image.fromarray(np.ones((3, 3), np.uint16)).save(tmp_path / '1.png')
    with pytest.raises(DataFileError, match='1.png: expected a channel as large'):
        data(root, channels=[str(tmp_path / '{id}.png')]).load_sample(1)


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
@pytest.mark.parametrize('kind', [
    dict(type='MTRandomFlip', prob=1.0), dict(type='MTResize', size=(20, 24)),
    dict(type='MTRandomScaleCrop', scales=(1.5,)), dict(type='MTRandomCrop', size=(16, 16)),
    dict(type='MTRandomScaleRotate', angles=(10, 10), scales=(1.2, 1.2)),
    dict(type='MTPad', divisor=64),
])  # fmt: skip
def test_transforms_treat_each_channel_as_they_would_alone(channels, kind):
    img = np.random.default_rng(0).random((*SIZE, channels), np.float32) * 255
    transform, tasks = TRANSFORMS.build(kind), build_tasks(['sal'])

    def moved(picture):
        np.random.seed(1)
        return transform(dict(img=picture, tasks=tasks, labels={}))['img']

    whole = moved(img)
    assert whole.shape[2] == channels
    for i in range(channels):
        np.testing.assert_allclose(whole[..., i], moved(img[..., [i]])[..., 0], atol=1e-3)


def test_distortion_leaves_further_channels(root):
    transform = TRANSFORMS.build(dict(type='MTPhotometricDistortion'))
    img = np.random.default_rng(0).random((*SIZE, 4), np.float32) * 255
    np.random.seed(3)
    colours = transform(dict(img=img[..., :3].astype(np.uint8)))['img']
    np.random.seed(3)
    changed = transform(dict(img=np.concatenate(
        [img[..., :3].astype(np.uint8), img[..., 3:]], -1)))['img']  # fmt: skip
    assert np.array_equal(changed[..., 3], img[..., 3])
    assert np.array_equal(changed[..., :3], colours) and (colours != img[..., :3]).any()


@pytest.mark.parametrize('channels', [1, 2, 3, 5])
def test_colours_turn_and_further_channels_stay(channels):
    mean, std = np.arange(channels) + 1.0, np.arange(channels) + 2.0
    preprocess = MultiTaskDataPreprocessor(mean.tolist(), std.tolist())
    picture = torch.rand(channels, 4, 6) * 255
    batch = preprocess(dict(inputs=[picture], data_samples=[MultiTaskDataSample()]))
    order = list(range(channels)) if channels < 3 else [2, 1, 0, *range(3, channels)]
    wanted = (picture[order] - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    torch.testing.assert_close(batch['inputs'][0], wanted.float())
    with pytest.raises(ValueError, match=f'Expected pictures .{channels}, H, W.*in_chans'):
        preprocess(dict(inputs=[torch.rand(channels + 1, 4, 6)]))


NETWORKS = {
    'timm.resnet18': ['conv1'], 'timm.pvt_v2_b0': ['fc1'],
    'timm.swin_tiny_patch4_window7_224': ['qkv'],
}  # fmt: skip


@pytest.mark.parametrize('kind', NETWORKS)
@pytest.mark.parametrize('channels', [1, 4])
def test_pretrained_filters_are_fitted_as_timm_fits_them(tmp_path, kind, channels):
    small = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2)) if 'swin' in kind else {}
    plain = timm.create_model(kind[5:], num_classes=0, **small).eval()
    torch.save(plain.state_dict(), tmp_path / 'base.pth')
    backbone = AdapterBackbone(
        dict(type=kind, in_chans=channels, pretrained=str(tmp_path / 'base.pth'), **small),
        plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=NETWORKS[kind])],
    ).eval()
    backbone.init_weights()
    assert channels_in(backbone.network) == channels
    key = next(k for k, v in plain.state_dict().items() if v.ndim == 4)
    wanted = adapt_input_conv(channels, plain.state_dict()[key])
    torch.testing.assert_close(backbone.network.state_dict()[key], wanted)
    levels = backbone(torch.rand(1, channels, 64, 64))
    assert all(torch.isfinite(level).all() for level in levels)


def model(channels, **options):
    return MultiTaskModel(
        ['sal'], dict(type='AdapterBackbone', backbone=dict(
            type='timm.swin_tiny_patch4_window7_224', in_chans=channels, embed_dim=8,
            depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2)),
            plugins=[dict(cfg=dict(type='LoRA', rank=2), targets=['qkv'])]),
        dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
        necks=[dict(type='ProjectionNeck', out_channels=(8, 8, 8, 8))], **options,
    ).eval()  # fmt: skip


def test_means_and_backbone_agree_or_are_named():
    with pytest.raises(ValueError, match='4 channels, data_preprocessor has 3 means.*in_chans=3'):
        model(4, data_preprocessor=dict(type='MultiTaskDataPreprocessor'))
    picture = np.random.default_rng(0).random((*SIZE, 4)) * 255
    fitting = dict(type='MultiTaskDataPreprocessor', mean=[100, 100, 100, 5], std=[50, 50, 50, 2])
    predict = MultiTaskInferencer(model(4, data_preprocessor=fitting))
    assert predict(picture)['sal'].shape == SIZE
    with pytest.raises(ValueError, match=r'array \(H, W, 4\).*takes 4 channels; got \(32, 40, 3\)'):
        predict(picture[..., :3])


@pytest.mark.parametrize('array, wanted', [
    (np.array([10, 20, 30, 9]), [30, 20, 10]), (np.array([10.4, 20, 30, 9]), [30, 20, 10]),
    (np.array([7], np.uint8), [7, 7, 7]), (np.array([0.0, 0.5, 1.0]), [255, 128, 0]),
    (np.array([0.0, 5000, 10000]), [255, 128, 0]),
])  # fmt: skip
def test_what_is_drawn_of_a_picture(array, wanted):
    if array.dtype.kind == 'i':
        array = array.astype(np.uint8)
    shown = photograph(torch.from_numpy(array).view(-1, 1, 1))
    assert shown.dtype == np.uint8 and shown[0, 0].tolist() == wanted


def test_a_run_on_rgb_d(root, tmp_path):
    cfg = tiny()
    tasks = dict(sal=dict())
    cfg.model.tasks, cfg.model.backbone.tasks = tasks, ['sal']
    cfg.model.backbone.backbone.in_chans = 4
    cfg.model.data_preprocessor.update(mean=[120, 120, 120, 5.0], std=[60, 60, 60, 3.0])
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        steps = [dict(type='MTResize', size=(32, 32)), *loader.dataset.pipeline]
        loader.dataset = dict(
            type='FolderMT', tasks=tasks, data_root=str(root), images='rgb/{id}.png', split=None,
            labels=dict(sal='m/{id}.png'), channels=[DEPTH], pipeline=steps,
        )  # fmt: skip
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.tasks, evaluator.baselines = tasks, None
    cfg.default_hooks.checkpoint.update(save_best=None, rule=None)
    cfg.train_cfg.max_epochs = 1
    runner = train(cfg, tmp_path)
    assert (tmp_path / 'vis' / 'val_1.png').is_file()
    drawn = draw_predictions(runner.model.eval(), [runner.val_dataloader.dataset[0]])
    assert drawn[0].shape[2] == 3
