"""PDRSHook in a plain mmsegmentation project: stock Runner, loop, checkpoints and segmentor."""

import pytest
import torch
from helpers.mmseg_run import run_mmseg

from mtpeft.checkpoints.files import safe_load

# no import of mtpeft: the scope in the types is enough
SCRIPT = """
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner, load_checkpoint

# the slow parts of a short run: asking compilers for their versions, formatting the config
Runner._log_env = lambda self, env_cfg: None
Config.pretty_text = property(lambda self: repr(self))

variants = {
    'lora': {},
    'dora-ts-pd': {
        'model.backbone.plugins.0.cfg.type': 'DoRA',
        'model.neck': dict(type='mtpeft.TSPD', in_channels=(8, 16, 32, 64),
                           base_sizes=((16, 16), (8, 8), (4, 4), (2, 2))),
    },
}
for name, options in variants.items():
    def run(work_dir, **more):
        cfg = Config.fromfile('config.py')
        cfg.merge_from_dict(options | more)
        cfg.work_dir = cfg.experiment_name = f'{name}-{work_dir}'
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner
    runner = run('whole')
    run('resumed', resume=True, load_from=f'{name}-whole/iter_4.pth')
    fresh = MODELS.build(runner.cfg.model)
    load_checkpoint(fresh, f'{name}-whole/iter_8.pth', strict=True)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outs = [m.eval()(picture, mode='tensor') for m in (runner.model, fresh)]
    torch.save(outs, f'{name}.pt')
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """For each variant of the model a run, a resumed one, and outputs of a fresh model."""
    return run_mmseg(tmp_path_factory.mktemp('mmseg'), SCRIPT)


VARIANTS = pytest.mark.parametrize('name', ['lora', 'dora-ts-pd'])


def ranks(record):
    return [rank for layer in record['ranks'].values() for rank in layer.values()]


@VARIANTS
def test_ranks_shrink_and_the_file_holds_active_components(folder, name):
    saved = safe_load(folder / f'{name}-whole' / 'iter_8.pth')
    history = saved['pdrs']['history']
    assert [(record['epoch'], record['iter']) for record in history] == [(0, 0), (0, 3), (0, 6)]
    assert set(ranks(history[0])) == {4} and min(ranks(history[-1])) < 3
    for key, value in saved['state_dict'].items():
        # a view would have brought the room of the pruned components along
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size(), key
    pattern = saved['meta']['rank_pattern']
    assert pattern == history[-1]['ranks'] and len(pattern) == 12
    for layer, streams in pattern.items():
        assert list(streams) == ['shared']
        assert saved['state_dict'][f'{layer}.adapter.A'].shape[0] == streams['shared']
        assert saved['state_dict'][f'{layer}.adapter.B'].shape[1] == streams['shared']


@VARIANTS
def test_a_fresh_model_loads_the_file(folder, name):
    trained, fresh = torch.load(folder / f'{name}.pt', weights_only=True)
    assert torch.equal(trained, fresh) and trained.shape == (1, 3, 16, 16)


@VARIANTS
def test_a_resumed_run_is_the_same(folder, name):
    whole, resumed = (
        safe_load(folder / f'{name}-{run}' / 'iter_8.pth') for run in ('whole', 'resumed')
    )
    assert whole['pdrs']['history'] == resumed['pdrs']['history']
    assert whole['state_dict'].keys() == resumed['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key


def test_the_neck_is_trained(folder):
    saved = safe_load(folder / 'dora-ts-pd-whole' / 'iter_8.pth')['state_dict']
    first = safe_load(folder / 'dora-ts-pd-whole' / 'iter_4.pth')['state_dict']
    keys = [key for key in saved if key.startswith('neck.')]
    assert keys and all(not torch.equal(saved[key], first[key]) for key in keys)
