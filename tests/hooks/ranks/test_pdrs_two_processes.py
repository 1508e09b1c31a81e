"""PDRSHook in two processes on the CPU (gloo)."""

import pytest
import torch
from helpers.engine import CONFIG, train_in_two_processes, write_base
from mmengine.config import Config

from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load

SPY = """
import torch
from helpers.adapter_grid import stir
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mtpeft.adapters import rank_pattern
from mtpeft.hooks import PDRSHook
from mtpeft.utils.dist import unwrap


@HOOKS.register_module()
class SpyHook(Hook):
    priority = 'LOWEST'

    def before_train(self, runner):
        self.pdrs = next(h for h in runner.hooks if isinstance(h, PDRSHook))
        self.steps = []
        if runner.iter == 0:
            stir(unwrap(runner.model), 0.1)  # scores are 0 where B is 0

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.draws = {s.key: s.group.prefix.clone() for s in self.pdrs.scored}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        scores = {s.key: s.score.clone() for s in self.pdrs.scored}
        labels = [sorted(sample.gt) for sample in data_batch['data_samples']]
        self.steps.append(dict(scores=scores, draws=self.draws, labels=labels))

    def after_train(self, runner):
        model = unwrap(runner.model)
        torch.save(dict(steps=self.steps, weights=model.state_dict(), ranks=rank_pattern(model),
                        unused=model.backbone.unused_parameter_names()),
                   f'{runner.work_dir}/process_{get_rank()}.pt')
"""

# Three steps an epoch on two processes, a third of the labels missing. No BatchNorm, whose batch
# statistics are each process's own; an eps of AdamW that does not enlarge rounding.
RUN = """
_base_ = [{config!r}]
custom_imports = dict(imports=['spy_hook'])
dora = dict(type='DoRA', rank=4, task_rank=3)
model = dict(
    backbone=dict(
        backbone=dict(pretrained={base!r}, drop_path_rate=0.0),
        plugins=[
            dict(cfg=dora, targets=['qkv', 'reduction']),
            dict(cfg=dora, targets=['proj', 'fc1', 'fc2'], lanes='task'),
        ],
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4)), dict(type='TSPD')],
    decoder=dict(_delete_=True, type='MultiHeadDecoder', head=dict(
        type='mmseg.FCNHead', in_index=[0, 1, 2, 3], input_transform='resize_concat', channels=4,
        num_convs=1, norm_cfg=None, dropout_ratio=0.0)),
)
default_hooks = dict(
    pdrs=dict(type='PDRSHook', rho=0.8, beta=0.5),
    spy=dict(type='SpyHook'),
    checkpoint=dict(max_keep_ckpts=3),
)
optim_wrapper = dict(optimizer=dict(eps=1e-2))
train_dataloader = dict(num_workers=0, persistent_workers=False,
                        dataset=dict(length=12, missing=0.33))
train_cfg = dict(max_epochs=3, val_interval=3)
vis_backends = []
visualizer = dict(vis_backends=[])
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run of two processes, and another that goes on from its first checkpoint."""
    folder = tmp_path_factory.mktemp('pdrs')
    base = write_base(folder / 'base.pth')
    (folder / 'spy_hook.py').write_text('import sys\nsys.path.insert(0, "tests")\n' + SPY)
    (folder / 'run.py').write_text(RUN.format(config=str(CONFIG), base=str(base)))
    resumed = dict(work_dir=f'{folder}/resumed', resume=f'{folder}/whole/epoch_1.pth')
    train_in_two_processes(folder / 'run.py', dict(work_dir=f'{folder}/whole'), resumed)
    return folder


def processes(folder, run):
    return [safe_load(folder / run / f'process_{rank}.pt') for rank in range(2)]


@pytest.mark.parametrize('run', ['whole', 'resumed'])
def test_processes_agree_bit_for_bit(folder, run):
    first, second = processes(folder, run)
    assert first['ranks'] == second['ranks']
    assert min(r for ranks in first['ranks'].values() for r in ranks.values()) < 3
    assert first['weights'].keys() == second['weights'].keys()
    weights = first['weights']
    assert [k for k in weights if not torch.equal(weights[k], second['weights'][k])] == []
    assert len(first['steps']) == len(second['steps']) == (9 if run == 'whole' else 6)
    for one, other in zip(first['steps'], second['steps'], strict=True):
        for kind in ('draws', 'scores'):
            assert one[kind].keys() == other[kind].keys()
            for key, value in one[kind].items():
                assert torch.equal(value, other[kind][key]), (kind, key)


def test_the_file_is_of_these_ranks_and_weights(folder):
    saved, process = safe_load(folder / 'whole' / 'epoch_3.pth'), processes(folder, 'whole')[1]
    assert saved['meta']['rank_pattern'] == process['ranks']
    for key, value in saved['state_dict'].items():
        assert torch.equal(value, process['weights'][key]), key
    history = saved['pdrs']['history']
    assert [record['epoch'] for record in history] == [0, 1, 2, 3]
    assert history[-1]['ranks'] == process['ranks']


def test_a_resumed_run_is_the_same(folder):
    whole, resumed = (processes(folder, run)[0] for run in ('whole', 'resumed'))
    assert whole['ranks'] == resumed['ranks']
    for key, value in whole['weights'].items():
        assert torch.equal(value, resumed['weights'][key]), key
    for one, other in zip(whole['steps'][3:], resumed['steps'], strict=True):
        assert all(torch.equal(v, other['draws'][k]) for k, v in one['draws'].items())
        assert all(torch.equal(v, other['scores'][k]) for k, v in one['scores'].items())
    histories = [
        safe_load(folder / run / 'epoch_3.pth')['pdrs']['history'] for run in ('whole', 'resumed')
    ]
    assert histories[0] == histories[1]


def test_adapters_without_effect_keep_their_rank(folder):
    process = processes(folder, 'whole')[0]
    unused = {name.split('.adapter.')[0] for name in process['unused']}
    assert unused
    for layer in unused:
        assert process['ranks'][f'backbone.{layer}']['shared'] == 4


def test_scores_are_those_of_one_process_on_the_whole_batch(folder, monkeypatch):
    """Pictures lack other labels in each process; scores are of the loss of all of them."""
    monkeypatch.syspath_prepend(str(folder))
    cfg = Config.fromfile(folder / 'run.py')
    cfg.experiment_name, cfg.log_level = 'one_process', 'WARNING'
    cfg.train_dataloader.batch_size = 4
    cfg.train_cfg.max_epochs = 1
    runner = build_runner(cfg, work_dir=str(folder / 'one'))
    runner.train()
    one = safe_load(folder / 'one' / 'process_0.pt')['steps']
    first, second = (process['steps'] for process in processes(folder, 'whole'))
    assert len(one) == 3
    for step, whole in enumerate(one):
        labels = sorted(first[step]['labels'] + second[step]['labels'])
        assert labels == sorted(whole['labels'])
        for key, value in whole['scores'].items():
            assert torch.equal(whole['draws'][key], first[step]['draws'][key])
            scale = max(value.max().item(), 1e-9)
            torch.testing.assert_close(
                first[step]['scores'][key] / scale, value / scale, rtol=0, atol=1e-4 * (1 + step)
            )
    assert any(
        sum(map(len, a['labels'])) != sum(map(len, b['labels']))
        for a, b in zip(first[:3], second[:3], strict=True)
    )
