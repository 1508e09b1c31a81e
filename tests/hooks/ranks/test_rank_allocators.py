"""Every allocator of ranks with every low-rank adapter, through the Runner."""

import copy

import pytest
import torch
from helpers.adapter_grid import checkerboard, label, low_rank_methods
from helpers.engine import call_tool, tiny, train, write_base
from mmengine.hooks import Hook

from mtpeft.adapters import rank_pattern
from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load
from mtpeft.hooks import RankAllocatorHook

ALLOCATORS = {
    'PDRS': dict(type='PDRSHook', rho=0.6),
    'faar+': dict(type='PDRSPlusHook', eps=0.3, until=1.0, by_epoch=False, shrink_every=2),
    'DyLoRA': dict(type='DyLoRAHook', rank=2),
    'AdaLoRA': dict(type='AdaLoRAHook', target_rank=2, t_initial=1, t_final=1, delta_t=1),
    'AutoLoRA': dict(type='AutoLoRAHook', holdout=0.3, until=0.8, lr=0.5),
}
# one of each method; its other options change nothing for an allocator
ADAPTED = list({cfg['type']: cfg for cfg in reversed(low_rank_methods())}.values())


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(base, allocator, adapter, **options):
    adapter = {**adapter, 'rank': 4, 'task_rank': 3}
    plugins = [dict(cfg=adapter, targets=['fc1', 'fc2'], lanes='task')]
    cfg = tiny(base, model__backbone__plugins=plugins, train_cfg__max_epochs=2,
               train_cfg__val_begin=9, default_hooks__checkpoint__max_keep_ckpts=3,
               param_scheduler=[], default_hooks__rank=allocator, **options)  # fmt: skip
    cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.1))
    return cfg


def leaves(value, name=''):
    """Every tensor and number of a nested container."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, f'{name}.{key}')
    else:
        yield name, value


def differences(one, other):
    """Names of the parts of two checkpoints that differ in a bit."""
    kinds = ('state_dict', 'ema_state_dict', 'optimizer', one['key'])
    found = []
    for kind in kinds:
        a, b = dict(leaves(one[kind])), dict(leaves(other[kind]))
        assert a.keys() == b.keys()
        found += [
            kind + key
            for key, value in a.items()
            if not (torch.equal(value, b[key]) if torch.is_tensor(value) else value == b[key])
        ]
    return found


@pytest.mark.parametrize(('name', 'adapter'), checkerboard(ALLOCATORS, ADAPTED, 3), ids=label)
def test_a_run_shrinks_resumes_bit_for_bit_and_is_reported(base, tmp_path, capsys, name, adapter):
    cfg = config(base, ALLOCATORS[name], adapter)
    whole = train(copy.deepcopy(cfg), tmp_path / 'whole')
    cut = train(copy.deepcopy(cfg), tmp_path / 'cut', resume=f'{whole.work_dir}/epoch_1.pth')
    files = [safe_load(f'{r.work_dir}/epoch_2.pth') for r in (whole, cut)]
    hook = next(h for h in whole.hooks if isinstance(h, RankAllocatorHook))
    for saved in files:
        saved['key'] = hook.state_key
    assert differences(*files) == []
    # ranks did shrink, and the file, the history and the model say the same
    pattern, history = files[0]['meta']['rank_pattern'], hook.history
    assert pattern == history[-1]['ranks'] == rank_pattern(whole.model) != history[0]['ranks']
    assert history[-1]['effective'] < history[0]['effective']
    for tracked in hook.tracked:
        assert tracked.group.prefix is tracked.group.gate is tracked.group.prefix_gain is None
    # a fresh model computes from the file what the trained one does
    fresh = build_runner(cfg, work_dir=str(tmp_path / 'fresh')).model
    frozen = {k: v for k, v in whole.model.state_dict().items() if '.adapter.' not in k}
    fresh.load_state_dict({**frozen, **files[0]['state_dict']}, strict=True)
    averaged = next(h for h in whole.hooks if hasattr(h, 'ema_model')).ema_model.module
    picture = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    with torch.no_grad():
        wanted, found = averaged.eval()(picture), fresh.eval()(picture)
    for task, value in wanted.items():
        torch.testing.assert_close(found[task], value, rtol=1e-5, atol=1e-6)
    if adapter in ADAPTED[:2]:
        out = tmp_path / 'ranks.png'
        call_tool('tools/analysis_tools/rank_report.py', whole.work_dir, '--out', out)
        assert f'Shrunk {len(history) - 1} times up to' in capsys.readouterr().out
        assert out.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('name', ALLOCATORS)
def test_a_file_of_the_middle_is_the_network_that_was_evaluated(base, tmp_path, name):
    """Also where components are weighted while the run lasts."""
    cfg = config(base, ALLOCATORS[name], dict(type='LoRA'))
    whole = train(copy.deepcopy(cfg), tmp_path)
    saved = safe_load(f'{whole.work_dir}/epoch_1.pth')
    runner = build_runner(cfg, work_dir=str(tmp_path / 'b'), resume=f'{whole.work_dir}/epoch_1.pth')
    seen = {}
    picture = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)

    class Look(Hook):
        priority = 'LOWEST'

        def before_train_epoch(self, runner):
            copied = next(h for h in runner.hooks if hasattr(h, 'ema_model'))
            copied._swap_ema_parameters()
            with torch.no_grad():
                seen.update(runner.model.eval()(picture))
            runner.model.train()
            copied._swap_ema_parameters()

    runner.register_hook(Look())
    runner.train()
    fresh = build_runner(cfg, work_dir=str(tmp_path / 'fresh')).model
    frozen = {k: v for k, v in whole.model.state_dict().items() if '.adapter.' not in k}
    fresh.load_state_dict({**frozen, **saved['state_dict']}, strict=True)
    with torch.no_grad():
        found = fresh.eval()(picture)
    assert seen
    for task, value in seen.items():
        torch.testing.assert_close(found[task], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', ALLOCATORS)
def test_a_model_without_low_rank_adapters_is_refused(base, tmp_path, name):
    cfg = config(base, ALLOCATORS[name], dict(type='LoRA'))
    cfg.model.backbone.plugins = []
    with pytest.raises(ValueError, match='the model has none.*AdaLoRA, .*LoRA, MTLoRA'):
        train(cfg, tmp_path)
