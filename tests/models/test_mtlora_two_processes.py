"""Two processes train MTLoRA as one process does on the same global batch."""

import subprocess
import sys
from pathlib import Path

import torch

WORKER = Path(__file__).parents[1] / 'data/mtlora_ddp_worker.py'
sys.path.insert(0, str(WORKER.parent))


def test_five_steps_equal_those_of_one_process(tmp_path):
    import mtlora_ddp_worker as worker

    store, out = tmp_path / 'store', tmp_path / 'out'
    processes = [
        subprocess.Popen([sys.executable, WORKER, str(rank), '2', store, out]) for rank in range(2)
    ]
    start = {n: p.detach().clone() for n, p in worker.model().named_parameters()}
    wanted = worker.train(worker.model(), [0, 1, 2, 3])
    assert [p.wait(timeout=120) for p in processes] == [0, 0]
    first, second = (torch.load(f'{out}.{rank}') for rank in range(2))
    unused = set(worker.model()._ddp_params_and_buffers_to_ignore)
    assert unused
    moved = {n for n in wanted if not torch.equal(wanted[n], start[n])}
    assert moved == set(wanted) - unused
    for name, value in wanted.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-5)
