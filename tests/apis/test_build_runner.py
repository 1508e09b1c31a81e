"""From a config to a Runner."""

import pytest
import torch
from helpers.engine import CONFIG, call_tool, tiny, train, write_base
from mmengine.config import Config
from mmengine.runner import Runner

from mtpeft.apis import build_runner
from mtpeft.checkpoints.files import safe_load
from mtpeft.utils.compiling import OLDEST_TORCH, traces_lanes

SHORT = dict(train_cfg__max_epochs=1, train_dataloader__dataset__length=4)


def test_the_runner_is_stock_and_the_config_untouched(tmp_path):
    cfg = tiny()
    before = Config(dict(cfg._cfg_dict)).to_dict()
    runner = build_runner(cfg, work_dir=str(tmp_path), amp=True, seed=5)
    assert type(runner) is Runner and runner.seed == 5
    assert cfg.to_dict() == before


def test_amp_on_a_cpu(tmp_path):
    dtypes = set()
    runner = build_runner(tiny(**SHORT), work_dir=str(tmp_path), amp=True)
    layer = next(m for m in runner.model.modules() if isinstance(m, torch.nn.Conv2d))
    layer.register_forward_hook(lambda module, x, y: dtypes.add((module.training, y.dtype)))
    runner.train()
    # the forward pass of training in bfloat16, evaluation and weights in float32
    assert dtypes == {(True, torch.bfloat16), (False, torch.float32)}
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}


@pytest.mark.skipif(not traces_lanes(), reason=f'torch {OLDEST_TORCH} or newer compiles lanes')
def test_a_compiled_run_trains_the_same_network(tmp_path):
    base = write_base(tmp_path / 'base.pth')
    plain = train(tiny(base, **SHORT), tmp_path / 'a').model.state_dict()
    runner = train(tiny(base, **SHORT), tmp_path / 'b', compile='eager')
    parts = runner.model.backbone, *runner.model.necks, runner.model.decoder
    assert all(part._compiled_call_impl is not None for part in parts)
    compiled = runner.model.state_dict()
    assert list(compiled) == list(plain)
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, rtol=1e-4, atol=1e-5)


def test_torchrun_needs_a_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('RANK', '0')
    with pytest.raises(ValueError, match="Add '--launcher pytorch'"):
        build_runner(tiny(), work_dir=str(tmp_path))


def test_resume_from_a_path_auto_and_from_nothing(tmp_path):
    base = write_base(tmp_path / 'base.pth')
    auto = build_runner(tiny(base), work_dir=str(tmp_path / 'a'), resume='auto')
    assert not auto._resume
    train(tiny(base, **SHORT), tmp_path / 'a')
    options = dict(SHORT, train_cfg__max_epochs=2)
    path = str(tmp_path / 'a' / 'epoch_1.pth')
    runner = train(tiny(base, **options), tmp_path / 'b', resume=path)
    # mmengine counts the iterations of the run, not of this process
    assert runner.iter == 4 and not (tmp_path / 'b' / 'epoch_1.pth').exists()
    with pytest.raises(FileNotFoundError, match='none.pth'):
        build_runner(tiny(base), work_dir=str(tmp_path), resume='none.pth')


def test_the_seed_decides(tmp_path):
    base = write_base(tmp_path / 'base.pth')
    states = [
        train(tiny(base, **SHORT), tmp_path / str(i), seed=seed).model.state_dict()
        for i, seed in enumerate((1, 1, 2))
    ]
    same, other = (
        all(torch.equal(states[0][key], state[key]) for key in state) for state in states[1:]
    )
    assert same and not other


def test_an_interrupted_run_says_how_to_go_on(tmp_path, monkeypatch):
    base = write_base(tmp_path / 'base.pth')
    original = Runner.call_hook

    def call_hook(self, name, **kwargs):
        original(self, name, **kwargs)
        if name == 'before_train_iter' and self.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Runner, 'call_hook', call_hook)
    with pytest.raises(SystemExit, match='epoch_1.pth; go on with --resume'):
        call_tool('tools/train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options',
                  f'model.backbone.backbone.pretrained={base}', 'train_dataloader.num_workers=0',
                  'train_dataloader.persistent_workers=False')  # fmt: skip
    assert safe_load(tmp_path / 'epoch_1.pth')['meta']['epoch'] == 1
