"""TADFormer in runs of the engine: saved, resumed, loaded, and pictures of odd sizes."""

import pytest
import torch
from helpers.engine import tiny, train, write_base
from mmengine.config import Config

from mtpeft.checkpoints.files import safe_load
from mtpeft.registry import MODELS

EPOCHS = dict(train_dataloader__dataset__length=4, train_cfg__val_interval=10)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(base, **options) -> Config:
    cfg = tiny(base, **EPOCHS, **options)
    lora = dict(type='TADFormer', rank=2, dropout=0.2)
    cfg.model.backbone.update(
        type='TADFormerBackbone',
        plugins=[
            dict(cfg=lora, targets=['qkv']),
            dict(cfg=lora, targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
    )
    return cfg


@pytest.fixture(scope='module')
def whole(base, tmp_path_factory):
    return train(config(base), tmp_path_factory.mktemp('whole'))


def test_a_file_holds_what_was_trained(whole):
    state = safe_load(f'{whole.work_dir}/epoch_3.pth')['state_dict']
    stream = {k for k in whole.model.state_dict() if '.token_stream.' in k}
    filters = {k for k in whole.model.state_dict() if '.adapter.filter.' in k}
    assert stream and len(filters) == 4 * 4 * 3 and stream | filters <= set(state)
    assert {f'backbone.token_stream.prompts.{task}' for task in ('semseg', 'depth')} <= stream
    assert 'backbone.network.layers.0.blocks.0.attn.qkv.weight' not in state
    # gates start at 0, norms at 1 and 0: all of them were trained
    assert all(state[key] != 0 for key in stream if '.gates.' in key)
    assert all(
        (state[key] != 1).all() for key in stream if key.endswith('.weight') and 'norms' in key
    )
    assert all((state[key] != 0).all() for key in stream if key.endswith('.bias'))


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(whole, base, tmp_path):
    # the schedule is the long run's: stopped behind its second epoch
    train(config(base, train_cfg__max_epochs=2), tmp_path)
    resumed = train(config(base), tmp_path, resume='auto')
    assert resumed.epoch == 3
    first = safe_load(f'{whole.work_dir}/epoch_3.pth')['state_dict']
    second = safe_load(f'{tmp_path}/epoch_3.pth')['state_dict']
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_loaded_model_predicts_alike_on_an_odd_picture(whole, base):
    other = config(base)
    model = MODELS.build(other.model)
    model.backbone.init_weights()
    state = safe_load(f'{whole.work_dir}/epoch_3.pth')['state_dict']
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(key.startswith('backbone.network.') for key in missing)
    picture = torch.randn(1, 3, 37, 51)
    with torch.no_grad():
        ours, theirs = model.eval()(picture), whole.model.eval()(picture)
    for task, logits in ours.items():
        assert logits.shape[-2:] == (37, 51)
        assert torch.equal(logits, theirs[task])
