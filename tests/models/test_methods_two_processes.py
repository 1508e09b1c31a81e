"""Two processes train a method as one process does on the same global batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).parents[1] / 'data/method_ddp_worker.py'
sys.path.insert(0, str(WORKER.parent))


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Where the two processes leave what they have learnt."""
    folder = tmp_path_factory.mktemp('methods')
    store, out = folder / 'store', folder / 'out'
    command = [sys.executable, WORKER]
    processes = [subprocess.Popen([*command, str(rank), '2', store, out]) for rank in range(2)]
    assert [p.wait(timeout=240) for p in processes] == [0, 0]
    return out


@pytest.mark.parametrize('method', ['mtlora', 'sinewich', 'tadformer', 'hyperformer'])
def test_five_steps_equal_those_of_one_process(trained, method):
    import method_ddp_worker as worker

    model = worker.model(method)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    unused = set(model._ddp_params_and_buffers_to_ignore)
    wanted = worker.train(model, [0, 1, 2, 3])
    first, second = (torch.load(f'{trained}.{method}.{rank}') for rank in range(2))
    assert bool(unused) is (method != 'hyperformer')
    moved = {n for n in wanted if not torch.equal(wanted[n], start[n])}
    assert moved == set(wanted) - unused
    for name, value in wanted.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-5)
