"""Measures of docs/export.md: parity over methods and families, and how long exported files take.

python docs/measure_export.py parity [NAME ...]   # of tests/export/exported.py, small models
python docs/measure_export.py latency [CONFIG ...]  # whole networks with random weights

Parity: the largest difference of any task as a share of the range of its maps (of classes: of the
margin where pixels differ), exported with two pictures and compared on three. Latency: one picture
of 224 x 224, merged, one thread, in turns with PyTorch, time of the process on its core.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tests'))
ONE_SIZE = dict.fromkeys(('timm BEiT', 'timm Hiera'), (128, 128))
CONFIGS = ('mtlora/mtlora-r64_swin-t_pascal.py', 'faar/faar_swin-t_pascal.py')


def parity(names: list[str]) -> None:
    from export.exported import METHODS, SIZE, SMALL, TASKS, largest_error, small

    tasks = {name: TASKS[name] for name in ('semseg', 'normals')}
    for name in names or [*METHODS, *SMALL]:
        start, size = time.process_time(), ONE_SIZE.get(name, SIZE)
        options = METHODS.get(name) or dict(family=name)
        with tempfile.TemporaryDirectory() as folder:
            try:
                model = small(**options, tasks=tasks, size=size)
                error, _, _ = largest_error(model, Path(folder) / 'model.onnx', size)
                found = f'{error:.1e}'
            except Exception as failure:  # the table names it
                found = f'{type(failure).__name__}: {str(failure)[:300]}'
        print(f'| {name} | {found} | {time.process_time() - start:.0f} |', flush=True)


def latencies(configs: list[str]) -> None:
    from mtpeft.apis.segmentor import build_model
    from mtpeft.export import differences, export_model, latency, runner_of

    torch.set_num_threads(1)
    for name in configs or CONFIGS:
        torch.manual_seed(0)
        cfg = Config.fromfile(ROOT / 'configs' / name)
        cfg.model.backbone.backbone.pretrained = False
        model = build_model(cfg).eval()
        for key, parameter in model.named_parameters():
            if '.adapter.' in key:  # (their start would add nothing)
                torch.nn.init.normal_(parameter, std=0.02)
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            exported = export_model(model, Path(folder) / 'model.onnx', (224, 224))
            seconds = time.process_time() - start
            run, module = runner_of(exported.path), exported.module
            picture = module.example(1, (224, 224)).numpy()
            worst = max(row.largest for row in differences(module, run, picture))
            print(f'{name}: {latency(module, run, picture, rounds=15)}; largest error {worst:.1e}; '
                  f'{exported.size:,} bytes, exported in {seconds:.0f} s', flush=True)  # fmt: skip


if __name__ == '__main__':
    dict(parity=parity, latency=latencies)[sys.argv[1]](sys.argv[2:])
