"""Runs that are killed at random moments and resumed must end as runs that were left alone.

    python tests/reliability/kills.py --kills 44 --seed 0

Each kill is a SIGKILL at a moment drawn by its seed: at the n-th of the calls of hooks and of the
writes of files that a whole run makes, or up to 50 ms later. After it every checkpoint in the work
dir must be whole. The run is resumed (and may be killed once more); its last checkpoint must then
hold the weights, averages, moments and schedules of the run that was left alone, bit for bit, and
its folder the same files. Every third kill is of a run of two processes, of one of them or both.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

EPOCHS = 3
EMA = dict(type='EMAHook', momentum=0.1)
#: options of the tiny config, by recipe; ``hooks`` are added to its custom hooks
RECIPES: dict[str, dict[str, Any]] = {
    'plain': {},
    'averaged': dict(hooks=[EMA]),
    'accumulated': dict(optim_wrapper__accumulative_counts=2),
    'averaged and accumulated': dict(hooks=[EMA], optim_wrapper__accumulative_counts=2),
    'a worker': dict(train_dataloader__num_workers=1),
    'saved every second epoch': dict(default_hooks__checkpoint__interval=2),
    'validated every second epoch': dict(train_cfg__val_interval=2),
    'one file kept': dict(default_hooks__checkpoint__max_keep_ckpts=1),
    'no clipping, bfloat16': dict(optim_wrapper__clip_grad=None,
                                  optim_wrapper__type='AutocastOptimWrapper'),
    'ranks shrink': dict(shrinking=True, hooks=[EMA]),
}  # fmt: skip


@dataclass
class Run:
    """A run of a recipe, in processes of its own.

    Args:
        recipe: One of :data:`RECIPES`.
        processes: How many train.
        base: File of pretrained weights.
        work_dir: Its folder.
    """

    recipe: str
    processes: int
    base: Path
    work_dir: Path

    def config(self) -> Any:
        from helpers.engine import tiny
        from helpers.shrunk import shrinking

        options = dict(RECIPES[self.recipe])
        hooks, shrinks = options.pop('hooks', []), options.pop('shrinking', False)
        options |= dict(train_cfg__max_epochs=EPOCHS, val_dataloader__dataset__length=2,
                        train_dataloader__dataset__length=6 * self.processes)  # fmt: skip
        make = shrinking if shrinks else tiny
        cfg = make(self.base, **options)
        cfg.custom_hooks.extend(hooks)
        return cfg

    def train(self, kill: Callable[[int], None] | None = None) -> list[int]:
        """Train to the end or a kill; the exit status of each process."""
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        children = [self._start(rank, port, kill) for rank in range(self.processes)]
        done: dict[int, int] = {}
        while len(done) < len(children):
            for child in set(children) - set(done):
                pid, status = os.waitpid(child, os.WNOHANG)
                if pid:
                    done[child] = os.waitstatus_to_exitcode(status)
                    if done[child]:
                        # as a launcher does
                        _kill(child for child in children if child not in done)
            time.sleep(0.02)
        return [done[child] for child in children]

    def _start(self, rank: int, port: int, kill: Callable[[int], None] | None) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            self.work_dir.mkdir(parents=True, exist_ok=True)
            log = os.open(self.work_dir / f'log_{rank}.txt', os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            self._train(rank, port, kill)
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)

    def _train(self, rank: int, port: int, kill: Callable[[int], None] | None) -> None:
        from mtpeft.apis import build_runner
        from mtpeft.utils import dist

        launcher = 'none'
        if self.processes > 1:
            launcher, dist._PARENT = 'pytorch', os.getppid()
            os.environ.update(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(self.processes),
                MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port),
            )  # fmt: skip
        count_events(lambda number: kill and kill(rank, number), self.work_dir / f'events_{rank}')
        cfg = self.config()
        cfg.experiment_name = f'{cfg.experiment_name}_{os.getpid()}'
        build_runner(cfg, work_dir=str(self.work_dir), resume='auto', launcher=launcher).train()

    def events(self, rank: int) -> int:
        """How many moments there were at which a process could be killed."""
        return int((self.work_dir / f'events_{rank}').read_text())


def count_events(at: Callable[[int], Any], file: Path) -> None:
    """Call ``at`` with its number before each call of hooks and each step of a write."""
    from mmengine.runner import Runner

    seen = 0

    def counted(function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += 1
            at(seen)
            name = args[1] if len(args) > 1 else ''
            result = function(*args, **kwargs)
            if name == 'after_run':
                file.write_text(str(seen))
            return result

        return call

    Runner.call_hook = counted(Runner.call_hook)
    os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def killer(victims: set[int], moment: int, delay: float) -> Callable[[int, int], None]:
    """Ends the process of a rank in ``victims`` ``delay`` seconds after an event."""

    def kill(rank: int, number: int) -> None:
        if rank not in victims or number != moment:
            return
        if delay:
            # its default is to end the process, wherever it is
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, delay)
        else:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def _kill(pids: Any) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


class Trial:
    """Kills runs, resumes them, and says what became of them.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        from helpers.engine import write_base

        self.folder = folder
        self.base = write_base(folder / 'base.pth')
        self.wholes: dict[tuple[str, int], Run] = {}
        self.kills = 0

    def whole(self, recipe: str, processes: int) -> Run:
        """The run that is left alone."""
        if (recipe, processes) not in self.wholes:
            name = f'{recipe}_{processes}'.replace(' ', '_')
            run = Run(recipe, processes, self.base, self.folder / name)
            if any(run.train()):
                raise RuntimeError((run.work_dir / 'log_0.txt').read_text()[-2000:])
            self.wholes[recipe, processes] = run
        return self.wholes[recipe, processes]

    def outcome(self, seed: int) -> tuple[str, str]:
        """``('right' or 'wrong', what happened)`` for one run that is killed once or twice."""
        draw = random.Random(seed)
        recipe = list(RECIPES)[seed % len(RECIPES)]
        processes = 2 if seed % 3 == 2 else 1
        whole = self.whole(recipe, processes)
        run = Run(recipe, processes, self.base, self.folder / f'killed_{seed}')
        what = f'{recipe}, {processes} process{"es" if processes > 1 else ""}'
        for _ in range(draw.choice((1, 1, 2))):
            victims = draw.choice(({0}, {processes - 1}, set(range(processes))))
            # the second of two processes writes nothing, so it has fewer moments
            last = min(map(whole.events, victims))
            moment = draw.randint(1, last)
            delay = draw.choice((0.0, draw.uniform(0.001, 0.05)))
            killed = any(status < 0 for status in run.train(killer(victims, moment, delay)))
            self.kills += killed
            # a resumed run has fewer moments than a whole one
            what += f', killed at {moment} of {last}' if killed else ', not reached'
            if problem := damaged(run.work_dir):
                return 'wrong', f'{what}: {problem}'
        if any(run.train()):
            log = (run.work_dir / 'log_0.txt').read_text().strip()
            return 'wrong', f'{what}: not resumed: {log[-600:]}'
        problem = difference(whole.work_dir, run.work_dir)
        if not problem:
            shutil.rmtree(run.work_dir)
        return ('wrong' if problem else 'right'), f'{what}: {problem or "the same"}'


def damaged(folder: Path) -> str:
    """What is wrong with the checkpoints that a kill left."""
    from mtpeft.checkpoints.files import CheckpointError, safe_load
    from mtpeft.checkpoints.work_dir import last_checkpoint

    try:
        for file in folder.glob('*.pth'):
            safe_load(file)
        last_checkpoint(folder)
    except CheckpointError as error:
        return str(error)
    return ''


def difference(one: Path, other: Path) -> str:
    """What two finished runs do not have in common; ``''`` for nothing."""
    from mtpeft.checkpoints.contents import digests
    from mtpeft.checkpoints.files import safe_load

    names = [sorted(path.name for path in folder.glob('*.pth')) for folder in (one, other)]
    if names[0] != names[1]:
        return f'files {names[1]} instead of {names[0]}'
    left = [path.name for path in other.iterdir() if path.suffix == '.tmp']
    if left:
        return f'left over: {left}'
    for name in names[0]:
        parts = []
        for folder in (one, other):
            saved = safe_load(folder / name)
            hub = saved.pop('message_hub')['runtime_info']
            saved['scores'] = {k: v for k, v in hub.items() if k.startswith('best')}
            saved['meta'] = saved['meta']['epoch'], saved['meta']['iter']
            parts.append(digests(saved))
        differing = [key for key in parts[0] | parts[1] if parts[0].get(key) != parts[1].get(key)]
        if differing:
            return f'{name}: other {", ".join(differing)}'
    return ''


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=44, help='how many runs are killed')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(arguments)
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    counts, wrong, began = Counter(), [], time.time()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        for seed in range(args.seed, args.seed + args.kills):
            verdict, what = trial.outcome(seed)
            print(f'seed {seed}: {what}', flush=True)
            counts[verdict] += 1
            wrong += [seed] if verdict == 'wrong' else []
    print(f'tried {args.kills} runs with {trial.kills} kills, right {counts["right"]}, '
          f'wrong {counts["wrong"]} {wrong or ""}, {time.time() - began:.0f} s')  # fmt: skip
    return int(bool(wrong))


if __name__ == '__main__':
    sys.exit(main())
