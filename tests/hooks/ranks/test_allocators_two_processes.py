"""AdaLoRA and AutoLoRA in two processes on the CPU (gloo)."""

import pytest
import torch
from helpers.engine import CONFIG, train_in_two_processes, write_base

from mtpeft.checkpoints.files import safe_load

SPY = """
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mtpeft.adapters import rank_pattern
from mtpeft.hooks import RankAllocatorHook
from mtpeft.utils.dist import unwrap


@HOOKS.register_module()
class SpyOfAllocator(Hook):
    priority = 'LOWEST'

    def before_train(self, runner):
        self.hook = next(h for h in runner.hooks if isinstance(h, RankAllocatorHook))
        self.seen, self.alphas = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append([s.sample_idx for s in data_batch['data_samples']])
        if hasattr(self.hook, 'held_out'):
            self.alphas.append([t.logits.detach().clone() for t in self.hook.tracked])

    def after_train(self, runner):
        model, held = unwrap(runner.model), getattr(self.hook, 'held_out', None)
        torch.save(dict(seen=self.seen, alphas=self.alphas, weights=model.state_dict(),
                        ranks=rank_pattern(model),
                        held=None if held is None else held.indices.tolist()),
                   f'{runner.work_dir}/process_{get_rank()}.pt')
"""

RUN = """
_base_ = [{config!r}]
custom_imports = dict(imports=['spy_of_allocator'])
model = dict(
    backbone=dict(
        backbone=dict(pretrained={base!r}),
        plugins=[dict(cfg=dict(type='AdaLoRA', rank=4, task_rank=3), targets=['fc1', 'fc2'],
                      lanes='task')],
    ),
    # a head without BatchNorm, whose statistics are each process's own
    decoder=dict(_delete_=True, type='MultiHeadDecoder', head=dict(
        type='mmseg.FCNHead', in_index=[0, 1, 2, 3], input_transform='resize_concat', channels=4,
        num_convs=1, norm_cfg=None, dropout_ratio=0.0)),
)
default_hooks = dict(spy=dict(type='SpyOfAllocator'))
train_dataloader = dict(num_workers=0, persistent_workers=False,
                        dataset=dict(length=12, missing=0.33))
param_scheduler = []
train_cfg = dict(max_epochs=2, val_begin=9)
vis_backends = []
visualizer = dict(vis_backends=[])
"""
HOOKS = {
    'AdaLoRA': dict(type='AdaLoRAHook', target_rank=2, t_initial=1, t_final=1, delta_t=1),
    'AutoLoRA': dict(type='AutoLoRAHook', holdout=0.34, until=0.8, lr=0.5),
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run with each of the hooks."""
    folder = tmp_path_factory.mktemp('allocators')
    base = write_base(folder / 'base.pth')
    (folder / 'spy_of_allocator.py').write_text(SPY)
    (folder / 'run.py').write_text(RUN.format(config=str(CONFIG), base=str(base)))
    train_in_two_processes(folder / 'run.py', *(
        dict(work_dir=f'{folder}/{name}', cfg_options={'default_hooks.ranks': hook})
        for name, hook in HOOKS.items()
    ))  # fmt: skip
    return folder


@pytest.mark.parametrize('name', HOOKS)
def test_processes_decide_and_learn_alike(folder, name):
    one, other = (safe_load(folder / name / f'process_{rank}.pt') for rank in range(2))
    assert one['ranks'] == other['ranks']
    ranks = [rank for layer in one['ranks'].values() for rank in layer.values()]
    assert min(ranks) < 3 and len(one['seen']) == len(other['seen']) == 6
    assert one['seen'] != other['seen']
    weights = one['weights']
    assert [k for k in weights if not torch.equal(weights[k], other['weights'][k])] == []
    for a, b in zip(one['alphas'], other['alphas'], strict=True):
        assert all(map(torch.equal, a, b))
    if name == 'AutoLoRA':
        assert any(z.abs().max() > 0 for z in one['alphas'][0])
        assert one['held'] == other['held'] and len(one['held']) == 4
        seen = {i for process in (one, other) for step in process['seen'] for i in step}
        assert not seen & set(one['held'])
