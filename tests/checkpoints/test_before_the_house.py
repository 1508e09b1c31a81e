"""Files of an earlier mtpeft load, and their models are what they were."""

import json

import pytest
import torch
from helpers.before_the_house import (
    EPOCHS,
    FOLDER,
    MERGED,
    PUBLISHED,
    TRAINED,
    config,
    expected,
    moments,
    outputs,
    write_base,
)

from mtpeft.adapters import low_rank_adapters
from mtpeft.adapters.ranks.low_rank import rank_pattern
from mtpeft.apis import build_runner, init_model
from mtpeft.checkpoints.files import safe_load


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """The file of the base's weights."""
    path = tmp_path_factory.mktemp('base') / 'base.pth'
    write_base(path)
    return path


def close(found, wanted):
    assert found.keys() == wanted.keys() == {'semseg', 'depth'}
    for task, values in wanted.items():
        torch.testing.assert_close(found[task], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('file', [TRAINED, PUBLISHED, MERGED])
def test_a_file_gives_what_it_gave(file, base):
    model = init_model(config(base), FOLDER / file)
    assert getattr(model, 'merged', False) is (file == MERGED)
    close(outputs(model), expected(file))


def test_the_files_are_of_one_model_that_was_trained(base):
    close(expected(PUBLISHED), expected(TRAINED))
    close(expected(MERGED), expected(TRAINED))
    fresh = outputs(init_model(config(base)))
    for task, values in expected(TRAINED).items():
        assert (fresh[task] - values).abs().max() > 0.1


def test_ranks_are_those_of_the_file(base):
    model = init_model(config(base), FOLDER / TRAINED)
    saved = safe_load(FOLDER / TRAINED)['meta']['rank_pattern']
    ranks = {rank for streams in saved.values() for rank in streams.values()}
    assert rank_pattern(model) == saved and len(ranks) > 2
    for adapter in low_rank_adapters(model).values():
        for group in adapter.groups.values():
            assert group.rank == max(group.active), 'pruned components take no room'


def test_a_run_goes_on(base, tmp_path):
    cfg = config(base)
    cfg.train_cfg.max_epochs = EPOCHS + 1
    runner = build_runner(cfg, work_dir=str(tmp_path), resume=str(FOLDER / TRAINED))
    runner.load_or_resume()
    assert runner.epoch == EPOCHS
    stored = json.loads((FOLDER / 'moments.json').read_text())
    assert moments(runner) == pytest.approx(stored, rel=1e-5, abs=1e-6)
    runner.train()
    after = safe_load(tmp_path / f'epoch_{EPOCHS + 1}.pth')
    history = safe_load(FOLDER / TRAINED)['pdrs']['history']
    assert after['pdrs']['history'][:-1] == history
    before = safe_load(FOLDER / TRAINED)['state_dict']
    assert after['state_dict'].keys() == before.keys()
    assert (
        after['meta']['base']['backbone']['sha256']
        == (safe_load(FOLDER / TRAINED)['meta']['base']['backbone']['sha256'])
    )
