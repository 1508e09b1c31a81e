"""What is saved, what is refused, and what survives."""

import errno
import os
import zipfile

import pytest
import torch
from helpers.engine import tiny, train, write_base
from helpers.shrunk import DORA, shrinking, shrunk_run

from mtpeft.adapters import rank_pattern
from mtpeft.adapters.ranks.low_rank import pruned_parameters
from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.checkpoints.model_state import load_checked
from mtpeft.hooks import AdapterCheckpointHook
from mtpeft.hooks.checkpoint_hook import make_compact
from mtpeft.registry import MODELS
from mtpeft.utils.fits import ConfigError

EMA = dict(type='EMAHook', momentum=0.5)
SHORT = dict(train_cfg__max_epochs=2, train_dataloader__dataset__length=2)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


@pytest.fixture(scope='module')
def run(base, tmp_path_factory):
    """A run of three epochs with EMA."""
    cfg = tiny(base)
    cfg.custom_hooks.append(EMA)
    return train(cfg, tmp_path_factory.mktemp('run'))


def trained_keys(model):
    """Independent of frozen_state_keys: trainable parameters, adapters, all off the backbone."""
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    return {
        key for key in model.state_dict()
        if key in trainable or '.adapter.' in key or not key.startswith('backbone.')
    }  # fmt: skip


def test_only_what_was_trained_is_saved(run):
    saved = safe_load(f'{run.work_dir}/epoch_3.pth')
    wanted = trained_keys(run.model)
    assert set(saved['state_dict']) == wanted
    assert {k[7:] for k in saved['ema_state_dict'] if k != 'steps'} == wanted
    held = sum(v.numel() for v in saved['state_dict'].values())
    assert held < sum(p.numel() for p in run.model.parameters()) / 4


def test_the_base_is_named(run, base):
    identity = safe_load(f'{run.work_dir}/epoch_3.pth')['meta']['base']['backbone']
    assert identity['weights'] == base.name and len(identity['sha256']) == 64
    assert identity['type'] == 'timm.swin_tiny_patch4_window7_224'


def test_files_that_stay(run):
    best = run.message_hub.get_info('best_ckpt')
    files = {name for name in os.listdir(run.work_dir) if name.endswith('.pth')}
    assert files == {'epoch_2.pth', 'epoch_3.pth', os.path.basename(best)}
    with open(f'{run.work_dir}/last_checkpoint') as file:
        assert file.read() == 'epoch_3.pth'
    assert not [name for name in os.listdir(run.work_dir) if name.endswith('.tmp')]


def test_the_best_one_is_the_best(run):
    scores = run.message_hub.get_scalar('val/mtl/delta_m').data[0]
    best = safe_load(f'{run.work_dir}/{run.message_hub.get_info("best_ckpt")}')
    assert best['meta']['epoch'] == scores.argmax() + 1
    assert run.message_hub.get_info('best_score') == max(scores)
    last = safe_load(f'{run.work_dir}/epoch_3.pth')
    assert last['message_hub']['runtime_info']['best_score'] == max(scores)


def test_a_checkpoint_without_the_base_tests_as_it_validated(run, base, tmp_path):
    runner = build_runner(
        tiny(base), work_dir=str(tmp_path), checkpoint=f'{run.work_dir}/epoch_3.pth'
    )
    metrics = runner.test()
    for key, value in metrics.items():
        if '/' in key:
            assert run.message_hub.get_scalar(f'val/{key}').current() == value, key


def test_a_full_one_holds_everything_and_needs_no_base(base, tmp_path):
    cfg = tiny(base, default_hooks__checkpoint__full=True, **SHORT)
    runner = train(cfg, tmp_path / 'a')
    path = f'{runner.work_dir}/epoch_2.pth'
    assert set(safe_load(path)['state_dict']) == set(runner.model.state_dict())
    other = build_runner(tiny(), work_dir=str(tmp_path / 'b'), checkpoint=path)
    other.test()
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key]), key


def test_a_random_base_is_saved_too(tmp_path):
    runner = train(tiny(**SHORT), tmp_path)
    saved = safe_load(f'{runner.work_dir}/epoch_2.pth')
    assert set(saved['state_dict']) == set(runner.model.state_dict())


OTHERS = {
    'rank': (dict(model__backbone__plugins=[
        dict(cfg=dict(type='MTLoRA', rank=1, task_rank=2), targets=['fc1', 'fc2'], lanes='task')
    ]), "a higher rank.*fc1, stream 'shared': rank 2 in the file, at most 1 .* set rank=2 in"),
    'fewer adapters': (dict(model__backbone__plugins=[
        dict(cfg=dict(type='MTLoRA', rank=2, task_rank=2), targets=['fc1'], lanes='task')
    ]), 'another architecture.*unknown to the model: backbone.*fc2'),
    'more adapters': (dict(model__backbone__plugins=[
        dict(cfg=dict(type='MTLoRA', rank=2, task_rank=2), targets=['proj', 'fc1', 'fc2'],
             lanes='task')
    ]), 'another architecture.*missing in the file: backbone.*proj'),
    'decoder': (dict(model__decoder__head__channels=9), 'another architecture.*size mismatch'),
}  # fmt: skip


@pytest.mark.parametrize(
    'name, how', [*((name, 'test') for name in OTHERS), ('rank', 'resume'), ('rank', 'load_from')]
)
def test_another_architecture_is_refused(run, base, tmp_path, name, how):
    options, message = OTHERS[name]
    cfg = tiny(base, **options)
    cfg.custom_hooks.append(EMA)
    path = f'{run.work_dir}/epoch_3.pth'
    how_given = dict(resume=path) if how == 'resume' else dict(checkpoint=path)
    runner = build_runner(cfg, work_dir=str(tmp_path), **how_given)
    with pytest.raises(CheckpointError, match=f'(?s){message}'):
        runner.test() if how == 'test' else runner.train()


def test_names_of_the_nearest_keys():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r'file: 0.weight \(nearest: 0.weigth\)'):
        load_checked(model, {'0.weigth': torch.ones(2, 2), '0.bias': torch.ones(2)})


def test_another_base_is_refused_or_told(run, tmp_path, caplog):
    other = write_base(tmp_path / 'other.pth', seed=4)
    path = f'{run.work_dir}/epoch_3.pth'
    runner = build_runner(tiny(other), work_dir=str(tmp_path), checkpoint=path)
    with pytest.raises(CheckpointError, match='(?s)another base.*sha256=.*base_mismatch'):
        runner.test()
    cfg = tiny(other)
    cfg.custom_hooks[0].base_mismatch = 'warn'
    build_runner(cfg, work_dir=str(tmp_path), checkpoint=path).test()


def test_without_a_guard_the_hook_checks_itself(run, base, tmp_path):
    runner = build_runner(tiny(base, model__decoder__head__channels=9), work_dir=str(tmp_path),
                          checkpoint=f'{run.work_dir}/epoch_3.pth')  # fmt: skip
    runner._hooks = [h for h in runner.hooks if type(h).__name__ != 'CheckpointGuardHook']
    assert any(isinstance(h, AdapterCheckpointHook) for h in runner.hooks)
    with pytest.raises(CheckpointError, match='another architecture'):
        runner.test()


def test_a_full_disk_leaves_the_checkpoint_before(base, tmp_path, monkeypatch):
    cfg = tiny(base, default_hooks__checkpoint__max_keep_ckpts=1, **SHORT)
    # (kept scenes are written by the same function)
    cfg.train_dataloader.dataset.cache = cfg.val_dataloader.dataset.cache = None
    runner = build_runner(cfg, work_dir=str(tmp_path))
    real = os.fsync

    def fsync(handle):
        if runner.iter == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle)

    monkeypatch.setattr(os, 'fsync', fsync)
    with pytest.raises(OSError, match='(?s)epoch_2.pth: No space.*whole: .*epoch_1.pth') as error:
        runner.train()
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir() if '.pth' in p.name) == [
        'best_mtl_delta_m_epoch_1.pth', 'epoch_1.pth',
    ]  # fmt: skip
    resumed = train(tiny(base, **SHORT), tmp_path, resume='auto')
    assert resumed.epoch == 2 and (tmp_path / 'epoch_2.pth').exists()


@pytest.mark.parametrize(
    'error', [FloatingPointError("loss of task 'depth' is nan in pictures: 3"), KeyboardInterrupt()]
)
def test_what_stops_a_run_leaves_the_checkpoint_before(base, tmp_path, error, monkeypatch):
    cfg = tiny(base, **SHORT)
    runner = build_runner(cfg, work_dir=str(tmp_path))
    forward = type(runner.model).forward

    def failing(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss' and runner.epoch == 1:
            raise error
        return forward(self, inputs, data_samples, mode)

    monkeypatch.setattr(type(runner.model), 'forward', failing)
    with pytest.raises(type(error), match=str(error)):
        runner.train()
    monkeypatch.undo()
    assert safe_load(tmp_path / 'epoch_1.pth')['meta']['epoch'] == 1
    assert train(tiny(base, **SHORT), tmp_path, resume=True).epoch == 2


def test_save_best_names_what_there_is(base, tmp_path):
    cfg = tiny(base, default_hooks__checkpoint__save_best='semseg/mIuO',
               default_hooks__checkpoint__rule='greater', **SHORT)  # fmt: skip
    with pytest.raises(ConfigError, match="semseg/mIuO.*'semseg/mIoU'"):
        train(cfg, tmp_path)


def test_no_delta_m_without_baselines(base, tmp_path):
    runner = train(tiny(base, val_evaluator__baselines=None, **SHORT), tmp_path)
    assert (tmp_path / 'epoch_2.pth').exists() and runner.epoch == 2


@pytest.mark.parametrize('error', [dict(base_mismatch='ignore')])
def test_options_of_the_guard(error):
    from mtpeft.hooks import CheckpointGuardHook

    with pytest.raises(ValueError, match='ignore'):
        CheckpointGuardHook(**error)


# -- low-rank adapters -----------------------------------------------------------------------------


def stored_bytes(state, path):
    """What ``torch.save`` writes of the tensors, without names and headers."""
    torch.save(state, path)
    with zipfile.ZipFile(path) as file:
        return sum(record.file_size for record in file.infolist() if '/data/' in record.filename)


@pytest.fixture(scope='module')
def shrunk(base, tmp_path_factory):
    return shrunk_run(base, tmp_path_factory.mktemp('shrunk'), ema=True)


@pytest.mark.parametrize('best', [False, True])
def test_pruned_components_are_not_in_the_file(shrunk, tmp_path, best):
    """Nor in that of the averaged copy."""
    name = shrunk.message_hub.get_info('best_ckpt') if best else 'epoch_3.pth'
    saved = safe_load(f'{shrunk.work_dir}/{name}')
    assert saved['meta']['rank_pattern'] == rank_pattern(shrunk.model)
    pruned = 4 * pruned_parameters(shrunk.model)
    assert pruned > 30_000
    own = shrunk.model.state_dict()
    whole = stored_bytes({key: own[key] for key in saved['state_dict']}, tmp_path / 'whole.pth')
    for name in ('state_dict', 'ema_state_dict'):
        state = {k: v for k, v in saved[name].items() if k != 'steps'}
        assert whole - stored_bytes(state, tmp_path / 'state.pth') == pruned
    assert (tmp_path / 'state.pth').stat().st_size < (tmp_path / 'whole.pth').stat().st_size


def test_files_say_the_ranks_without_shrinking_too(run):
    meta = safe_load(f'{run.work_dir}/epoch_3.pth')['meta']
    assert meta['rank_pattern'] == rank_pattern(run.model)
    assert meta['tasks'] == ['semseg', 'depth']
    # lanes of MTLoRA read what the shared path gives to the last layer
    assert meta['idle_streams'] == {'backbone.network.layers.3.blocks.0.mlp.fc2': ['shared']}
    assert {r for ranks in meta['rank_pattern'].values() for r in ranks.values()} == {2}


def test_without_adapters_no_ranks(base, tmp_path):
    train(tiny(base, model__backbone__plugins=[], **SHORT), tmp_path)
    assert 'rank_pattern' not in safe_load(tmp_path / 'epoch_2.pth')['meta']


def test_views_become_compact_and_shared_storage_stays_shared():
    whole = torch.zeros(4, 6)
    state = dict(cut=whole[:1], whole=whole, same=whole.view(6, 4), all=torch.ones(1).expand(3))
    make_compact(state)
    assert state['cut'].untyped_storage().nbytes() == 24
    assert state['whole'].data_ptr() == state['same'].data_ptr() == whole.data_ptr()


@pytest.mark.parametrize('kind, ranks, advice', [
    ('shared', dict(rank=2, task_rank=8), 'rank=6 in'),
    ('depth', dict(rank=8, task_rank=1), 'task_rank=4 in'),
    ('both', dict(rank=2, task_rank=1), 'rank=6 and task_rank=4 in'),
])  # fmt: skip
def test_ranks_that_do_not_fit_are_named(base, kind, ranks, advice):
    made = MODELS.build(shrinking(base).model)
    other = MODELS.build(shrinking(base, adapter={**DORA, **ranks}).model)
    with pytest.raises(CheckpointError) as error:
        load_checked(other, made.state_dict(), 'Checkpoint a.pth')
    text = str(error.value)
    assert text.startswith('Checkpoint a.pth has adapters of a higher rank than the model')
    first = 'backbone.network.layers.0.blocks.0.mlp.fc1'
    if kind != 'depth':
        assert f"{first}, stream 'shared': rank 6 in the file, at most 2 in the model" in text
    if kind != 'shared':
        assert f"{first}, stream 'depth': rank 4 in the file, at most 1 in the model" in text
    streams = dict(shared=8, depth=16, both=24)[kind]
    assert f'and {streams - 4} more' in text and f'set {advice} the cfg of the plugin' in text


def test_ranks_and_something_else_that_do_not_fit(base):
    made = MODELS.build(shrinking(base).model)
    cfg = shrinking(base, adapter={**DORA, 'rank': 2}, model__decoder__head__channels=9)
    with pytest.raises(CheckpointError, match='(?s)another architecture.*size mismatch'):
        load_checked(MODELS.build(cfg.model), made.state_dict())
