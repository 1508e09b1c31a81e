"""Two gloo processes give what one process gives for the same global batch."""

import subprocess
import sys
from pathlib import Path

import ddp_worker
import pytest
import torch

WORKER = Path(__file__).parent / 'ddp_worker.py'


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """What each process found."""
    folder = tmp_path_factory.mktemp('ddp')
    paths = [str(folder / 'store'), str(folder / 'out')]
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), '2', *paths], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            errors = process.communicate(timeout=180)[1]
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f'out.{rank}', weights_only=True) for rank in range(2)]


@pytest.mark.parametrize('case', ddp_worker.CASES)
@pytest.mark.parametrize('weighting', ddp_worker.WEIGHTINGS)
def test_gradients_and_weights_equal_one_process(ranks, weighting, case):
    pictures, samples = ddp_worker.batch(case)
    wanted = ddp_worker.step(ddp_worker.model_of(weighting), pictures, samples)
    for rank in ranks:
        got = rank[weighting, case]
        assert set(got['gradients']) == set(wanted['gradients'])
        for name, gradient in wanted['gradients'].items():
            scale = max(1.0, gradient.abs().max().item())
            torch.testing.assert_close(
                got['gradients'][name] / scale, gradient / scale, rtol=0, atol=1e-6
            )
        for name, value in wanted['weights'].items():
            torch.testing.assert_close(got['weights'][name], value, rtol=0, atol=1e-6)
        assert got['raw'] == pytest.approx(wanted['raw'], rel=1e-5)
    for name, value in ranks[0][weighting, case]['weights'].items():
        assert torch.equal(value, ranks[1][weighting, case]['weights'][name])


@pytest.mark.parametrize('case', ddp_worker.CASES)
@pytest.mark.parametrize('kind', ddp_worker.COMBINING)
def test_combined_gradients_equal_one_process(ranks, kind, case):
    wanted = ddp_worker.combined_steps(ddp_worker.model_of(kind), *ddp_worker.batch(case))
    for name, value in wanted.items():
        found = [rank['combined', kind, case][name] for rank in ranks]
        assert torch.equal(*found)
        torch.testing.assert_close(found[0], value, rtol=1e-5, atol=1e-6)


def test_nan_stops_every_process(ranks):
    clean, guilty = (rank['nan'] for rank in ranks)
    assert "'sal' is nan, from another process" in clean and 'picture_' not in clean
    assert "'sal' is nan in pictures: picture_3.jpg" in guilty
