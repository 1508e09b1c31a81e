"""The project of docs/mmseg.md as it stands there: a segmentor, two tasks, merged files."""

import re

import cv2
import numpy as np
import pytest
import timm
import torch
from helpers.engine import ROOT, call_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.apis import inference_model
from mmseg.apis import init_model as mmseg_init_model
from mmseg.registry import MODELS
from safetensors.torch import save_file

import mtpeft
from mtpeft.apis import MultiTaskInferencer, init_model
from mtpeft.checkpoints.files import safe_load
from mtpeft.models.backbones.pretrained import PretrainedWeightsError

NETWORK = dict(embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))


def written(page, name, folder):
    """The config that the page says to write as ``projects/<name>``, with a small network."""
    (text,) = re.findall(rf'```python\n(# projects/{name}\n.*?)```', page, re.S)
    small = {
        'pretrained=True': f"pretrained='{folder / 'base.safetensors'}', "
        + ', '.join(f'{key}={value}' for key, value in NETWORK.items()),
        "'../configs/": f"'{ROOT}/configs/",
        "'projects/data'": f"'{folder / 'data'}'",
        'max_epochs=10, val_interval=10': 'max_epochs=2, val_interval=2',
        'num_workers=2': 'num_workers=0',
        '[96, 192, 384, 768]': '[16, 32, 64, 128]',
        'channels=128': 'channels=8',
        '(512, 512)': '(64, 64)',
    }
    for old, new in small.items():
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('projects')
    rng = np.random.default_rng(0)
    for kind in ('img', 'ann', 'depth'):
        (folder / 'data' / kind).mkdir(parents=True)
    for i in range(4):
        classes = rng.integers(0, 3, (8, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        cv2.imwrite(str(folder / f'data/ann/{i}.png'), classes)
        cv2.imwrite(str(folder / f'data/img/{i}.png'), np.stack([classes * 80] * 3, -1))
        cv2.imwrite(str(folder / f'data/depth/{i}.png'), (classes + 1).astype(np.uint16) * 1000)
    torch.manual_seed(5)
    network = timm.create_model('swin_tiny_patch4_window7_224', num_classes=0, **NETWORK)
    save_file(network.state_dict(), folder / 'base.safetensors')
    page = (ROOT / 'docs/mmseg.md').read_text(encoding='utf-8')
    seg, two = (written(page, name, folder) for name in ('seg.py', 'two.py'))
    call_tool('tools/train.py', seg, '--work-dir', folder / 'seg')
    return folder, seg, two, folder / 'seg/epoch_2.pth'


def classes_of(model, folder):
    result = inference_model(model, str(folder / 'data/img/0.png'))
    return result.seg_logits.data


def test_the_checkpoint_is_small_and_is_tested_with_drawings(project):
    folder, seg, _, checkpoint = project
    keys = safe_load(checkpoint)['state_dict']
    assert keys and all('.adapter.' in key for key in keys if key.startswith('backbone.'))
    call_tool('tools/test.py', seg, checkpoint, '--work-dir', folder / 'test',
             '--show-dir', folder / 'drawn')  # fmt: skip
    assert sorted(p.name for p in (folder / 'drawn').iterdir()) == [f'{i}.png' for i in range(4)]


def test_whoever_loads_it_gets_the_trained_model(project):
    folder, seg, _, checkpoint = project
    ours = init_model(seg, checkpoint)
    expected = classes_of(ours, folder)
    assert ours.dataset_meta['classes'] == ('floor', 'wall', 'thing')
    theirs = mmseg_init_model(Config.fromfile(seg), str(checkpoint), device='cpu')
    torch.testing.assert_close(classes_of(theirs, folder), expected)
    cfg = Config.fromfile(seg)
    init_default_scope('mmseg')
    plain = MODELS.build(cfg.model).eval()
    load_checkpoint(plain, str(checkpoint), map_location='cpu')
    by_torch = MODELS.build(cfg.model).eval()
    by_torch.load_state_dict(safe_load(checkpoint)['state_dict'])  # strict
    for model in (plain, by_torch):
        for key, value in ours.state_dict().items():
            assert torch.equal(model.state_dict()[key], value), key


def test_a_random_base_is_refused(project):
    folder, seg, _, checkpoint = project
    cfg = Config.fromfile(seg)
    cfg.model.backbone.backbone.pretrained = False
    with pytest.raises(PretrainedWeightsError, match='does not hold the frozen base'):
        mmseg_init_model(cfg, str(checkpoint), device='cpu')


def test_it_is_merged_and_exported(project):
    folder, seg, _, checkpoint = project
    out, plain = folder / 'seg.safetensors', folder / 'backbone.safetensors'
    call_tool('tools/model_converters/merge_adapters.py', seg, checkpoint, out)
    merged = init_model(seg, out)
    assert not [name for name, _ in merged.named_parameters() if 'adapter' in name]
    expected = classes_of(init_model(seg, checkpoint), folder)
    torch.testing.assert_close(classes_of(merged, folder), expected, rtol=1e-4, atol=1e-4)
    alone = mtpeft.from_pretrained(out)  # the file holds its config
    assert torch.equal(classes_of(alone, folder), classes_of(merged, folder))
    with pytest.raises(SystemExit, match='has no tasks'):
        call_tool('tools/model_converters/merge_adapters.py', seg, checkpoint,
                  folder / 'b.safetensors', '--tasks', 'depth')  # fmt: skip
    call_tool('tools/model_converters/export_backbone.py', seg, checkpoint, plain)
    network = timm.create_model('swin_tiny_patch4_window7_224', num_classes=0, **NETWORK)
    assert not network.load_state_dict(dict(safe_load(plain)['state_dict']), strict=False)[1]


def test_a_second_task_starts_from_it_and_is_merged(project):
    folder, seg, two, checkpoint = project
    call_tool('tools/train.py', two, '--work-dir', folder / 'two',
              '--load-from', checkpoint, '--partial')  # fmt: skip
    (log,) = (folder / 'two').glob('*/*.log')
    told = log.read_text().split('starts anew', 1)[1].split('mmengine - INFO', 1)[0]
    anew = [line for line in told.splitlines() if 'decoder.heads' in line]
    assert anew and not any('heads.semseg' in line for line in anew)
    trained = folder / 'two/epoch_2.pth'
    out = folder / 'two.safetensors'
    call_tool('tools/model_converters/merge_adapters.py', two, trained, out)
    picture = folder / 'data/img/0.png'
    merged, plain = (MultiTaskInferencer(init_model(two, path))(picture) for path in (out, trained))
    assert merged['semseg'].shape == merged['depth'].shape == (64, 64)
    np.testing.assert_allclose(merged['depth'], plain['depth'], atol=1e-3)
