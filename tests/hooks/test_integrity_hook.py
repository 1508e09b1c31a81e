"""What is not finite goes nowhere, and files have digests."""

import pytest
import torch
from helpers.engine import tiny, train, write_base
from helpers.shrunk import shrunk_run
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mtpeft.apis import build_runner, init_model
from mtpeft.checkpoints.files import CheckpointError, safe_load
from mtpeft.hooks import IntegrityHook

EMA = dict(type='EMAHook', momentum=0.5)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(base, epochs=2, **options):
    cfg = tiny(base, train_cfg__max_epochs=epochs, train_dataloader__dataset__length=4,
               val_dataloader__dataset__length=1, **options)  # fmt: skip
    cfg.custom_hooks.append(EMA)
    return cfg


def written(path):
    """All that is in a file, also what a reader keeps for itself."""
    return torch.load(path, weights_only=False)


class Poison(Hook):
    """Makes one thing NaN in the last step of the second epoch."""

    priority = 'VERY_LOW'

    def __init__(self, what):
        self.what = what

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3 and self.what == 'gradient':
            parameter = next(p for p in runner.model.parameters() if p.requires_grad)
            parameter.register_hook(lambda gradient: gradient * float('nan'))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter != 3:
            return
        if self.what == 'weight':
            next(p for p in runner.model.parameters() if p.requires_grad).data.view(-1)[0] = (
                torch.inf
            )
        elif self.what == 'moment':
            next(iter(runner.optim_wrapper.optimizer.state.values()))['exp_avg'].fill_(torch.nan)
        elif self.what == 'buffer':
            next(b for n, b in runner.model.named_buffers() if 'running_var' in n).fill_(torch.inf)


@pytest.mark.parametrize('what', ['gradient', 'weight', 'moment', 'buffer'])
def test_no_file_has_it_and_the_run_goes_on_from_before(base, tmp_path, what):
    runner = build_runner(config(base), work_dir=str(tmp_path))
    runner.register_hook(Poison(what), priority='NORMAL')
    error = FloatingPointError if what == 'gradient' else CheckpointError
    with pytest.raises(error, match='(?s)not finite: .*--resume'):
        runner.train()
    assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_1.pth'
    assert not (tmp_path / 'epoch_2.pth').exists()
    for file in tmp_path.glob('*.pth'):
        safe_load(file)
    assert train(config(base), tmp_path, resume='auto').epoch == 2


def test_a_file_with_nan_is_refused_by_every_reader(base, tmp_path):
    cfg = config(base, epochs=1)
    train(cfg, tmp_path)
    path = tmp_path / 'epoch_1.pth'
    saved = torch.load(path, weights_only=False)
    key = next(k for k, v in saved['state_dict'].items() if v.is_floating_point())
    saved['state_dict'][key].view(-1)[0] = torch.nan
    del saved['meta']['digest']
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match=f'{path} was not loaded.*{key}'):
        init_model(cfg, path)
    for options in (dict(resume='auto'), dict(checkpoint=str(path))):
        runner = build_runner(config(base), work_dir=str(tmp_path), **options)
        with pytest.raises(CheckpointError, match=key):
            runner.train() if 'resume' in options else runner.test()


def test_files_of_pruned_adapters_and_averages_have_digests(base, tmp_path):
    runner = shrunk_run(base, tmp_path, ema=True)
    for file in tmp_path.glob('*.pth'):
        assert set(written(file)['meta']['digest']) == set(safe_load(file))
    assert train_one_more(runner, base, tmp_path)


def train_one_more(runner, base, folder):
    """A file with digests is resumed."""
    cfg = runner.cfg.copy()
    cfg.train_cfg.max_epochs += 1
    cfg.experiment_name += 'more'
    return train(cfg, folder, resume='auto').epoch == runner.epoch + 1


class Late(Hook):
    """Adds to a checkpoint as late as a hook of a config can."""

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['late'] = torch.ones(2)
        checkpoint['meta']['late'] = 1


def test_what_other_hooks_add_counts(base, tmp_path):
    cfg = config(base, epochs=1)
    cfg.custom_hooks.append(Late())
    train(cfg, tmp_path)
    saved = written(tmp_path / 'epoch_1.pth')
    assert saved['meta']['late'] == 1 and 'late' in saved['meta']['digest']


def test_the_plain_runner_has_it_too(base, tmp_path):
    cfg = config(base, epochs=1)
    cfg.update(work_dir=str(tmp_path), launcher='none')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert sum(isinstance(hook, IntegrityHook) for hook in runner.hooks) == 1
    assert written(tmp_path / 'epoch_1.pth')['meta']['digest']
