"""A run that was stopped in an evaluation."""

import pytest
from helpers.engine import tiny, train, write_base
from mmengine.runner import Runner

from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load


@pytest.mark.parametrize('epoch, interval', [(1, 1), (2, 1), (2, 2)])
def test_resumed_it_evaluates_as_the_whole_run(tmp_path, monkeypatch, epoch, interval):
    base = write_base(tmp_path / 'base.pth')
    options = dict(train_cfg__max_epochs=2, train_cfg__val_interval=interval,
                   train_dataloader__dataset__length=2)  # fmt: skip
    whole = train(tiny(base, **options), tmp_path / 'whole')
    original = Runner.call_hook

    def call_hook(self, name, **kwargs):
        original(self, name, **kwargs)
        if name == 'after_val_iter' and self.epoch == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(Runner, 'call_hook', call_hook)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(base, **options), tmp_path / 'cut')
    monkeypatch.undo()
    resumed = train(tiny(base, **options), tmp_path / 'cut', resume=True)
    wanted, got = (r.message_hub.get_scalar('val/mtl/delta_m').data[0] for r in (whole, resumed))
    assert wanted.tolist() == got.tolist() and len(wanted) == 2 // interval
    best, other = (r.message_hub.get_info('best_ckpt').split('/')[-1] for r in (whole, resumed))
    assert best == other
    # the last file knows of it, as that of the whole run
    one, other = (
        safe_load(tmp_path / name / 'epoch_2.pth')['message_hub']['runtime_info']
        for name in ('whole', 'cut')
    )
    assert {k: v for k, v in one.items() if 'best' in k} == {
        k: v for k, v in other.items() if 'best' in k
    }


def test_an_evaluation_that_was_the_best_is_not_repeated(tmp_path):
    base = write_base(tmp_path / 'base.pth')
    options = dict(train_cfg__max_epochs=1, train_dataloader__dataset__length=2)
    train(tiny(base, **options), tmp_path)
    runner = build_runner(tiny(base, **options), work_dir=str(tmp_path), resume=True)
    runner.train()
    assert len(runner.message_hub.get_scalar('val/mtl/delta_m').data[0]) == 1
