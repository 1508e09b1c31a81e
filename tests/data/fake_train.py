"""Stands in for tools/train.py: does at once what the config's ``behaviour`` says."""

import argparse
import json
import os
import signal
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument('config')
parser.add_argument('--work-dir', type=Path)
parser.add_argument('--seed', type=int)
parser.add_argument('--resume', action='store_true')
parser.add_argument('--cfg-options', nargs='+')
args = parser.parse_args()
options = dict(word.split('=', 1) for word in args.cfg_options)
config: dict = {}
exec(Path(args.config).read_text(), config)
behaviour = options.get('behaviour', config['behaviour'])
last = args.work_dir / 'last_checkpoint'
resumed = last.is_file()
with open(args.work_dir.parents[1] / 'calls.txt', 'a') as calls:
    print(args.work_dir.parent.name, args.seed, 'resumed' if resumed else 'new', file=calls)
print('training on device', os.environ.get('CUDA_VISIBLE_DEVICES'))
print('training')
if behaviour == 'error':
    raise KeyError('no such role')
if behaviour == 'silent':
    raise SystemExit(0)
if behaviour == 'meet':
    # until another run has begun
    end = time.monotonic() + 60
    while len((args.work_dir.parents[1] / 'calls.txt').read_text().splitlines()) < 2:
        assert time.monotonic() < end, 'no other run began'
        time.sleep(0.05)
if behaviour in ('kill', 'sleep') and not resumed:
    last.write_text(str(args.work_dir / 'epoch_1.pth'))
    if behaviour == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    (args.work_dir / 'pid').write_text(str(os.getpid()))
    time.sleep(60)
headline = {}
for task, (metric, values, lower) in config['figures'].items():
    unit = 'm' if task == 'depth' else '%'
    headline[task] = dict(
        metric=metric, value=values[args.seed], lower_is_better=lower, unit=unit
    )  # fmt: skip
parameters = dict(zip(
    ('trainable', 'without_decoder', 'without_decoder_and_unused'), config['counts'], strict=True
))  # fmt: skip
metrics = {f'{task}/{line["metric"]}': line['value'] for task, line in headline.items()}
# whole or not at all, as the hook writes it
file = args.work_dir / 'result.json.part'
file.write_text(json.dumps(dict(
    recipe=options['default_hooks.result.recipe'], config=args.config, seed=args.seed, epochs=1,
    metrics=metrics, headline=headline, parameters=dict(parameters, components={}),
    seconds_per_step=config['seconds'][args.seed], peak_memory_mb=100.0 + args.seed,
    peak_memory_of='process', commit='abc', date='2030-01-01',
    host=dict(cpus=2, threads=1, torch='2', device='cpu'),
)))  # fmt: skip
file.rename(args.work_dir / 'result.json')
