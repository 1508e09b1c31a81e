"""Rank allocators in a plain mmsegmentation project: stock Runner, iteration-based loop."""

import pytest
import torch
from helpers.mmseg_run import run_mmseg

from mtpeft.checkpoints.files import safe_load

KEYS = dict(AdaLoRAHook='adalora', DyLoRAHook='dylora', AutoLoRAHook='autolora')

SCRIPT = """
from mmengine.config import Config
from mmengine.runner import Runner

# the slow parts of a short run: asking compilers for their versions, formatting the config
Runner._log_env = lambda self, env_cfg: None
Config.pretty_text = property(lambda self: repr(self))

hooks = dict(
    AdaLoRAHook=dict(target_rank=2, t_initial=1, t_final=2, delta_t=1),
    DyLoRAHook=dict(rank=2),
    AutoLoRAHook=dict(holdout=0.25, until=0.75, lr=1.0),
)
for name, options in hooks.items():
    def run(work_dir, **more):
        cfg = Config.fromfile('config.py')
        cfg.default_hooks.pdrs = dict(type=f'mtpeft.{name}', **options)
        cfg.model.backbone.plugins[0].cfg.type = 'AdaLoRA'
        cfg.merge_from_dict(more)
        cfg.work_dir = cfg.experiment_name = f'{name}-{work_dir}'
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner
    runner = run('whole')
    seen = 'train/orthogonality' in runner.message_hub.log_scalars
    assert seen == (name == 'AdaLoRAHook')
    run('resumed', resume=True, load_from=f'{name}-whole/iter_4.pth')
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """For each allocator a run and one that was resumed in its middle."""
    return run_mmseg(tmp_path_factory.mktemp('mmseg'), SCRIPT)


@pytest.mark.parametrize('name', KEYS)
def test_ranks_shrink_and_a_resumed_run_is_the_same(folder, name):
    whole, resumed = (
        safe_load(folder / f'{name}-{run}' / 'iter_8.pth') for run in ('whole', 'resumed')
    )
    histories = [saved[KEYS[name]]['history'] for saved in (whole, resumed)]
    assert histories[0] == histories[1] and len(histories[0]) > 1
    ranks = [[r for layer in record['ranks'].values() for r in layer.values()]
             for record in (histories[0][0], histories[0][-1])]  # fmt: skip
    assert set(ranks[0]) == {4} and sum(ranks[1]) < sum(ranks[0])
    assert whole['meta']['rank_pattern'] == histories[0][-1]['ranks']
    assert whole['state_dict'].keys() == resumed['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key
