"""Measures of docs/export.md: parity over methods and families, and how long exported files take.

python docs/measure_export.py parity [NAME ...]   # of tests/export/exported.py, small models
python docs/measure_export.py sizes [NAME ...]      # families with a dynamic size
python docs/measure_export.py latency [CONFIG ...]  # whole networks with random weights
python docs/measure_export.py transforms            # of a level of FAAR: products beside ONNX's DFT

Parity: exported with two pictures, compared on three: of unit vectors the largest difference as a
share of the range; of classes the share of pixels that differ, and how close the two best logits
are there, as a share of the range of logits. Sizes: the same with a dynamic size, and at
two others. A model that takes more than eight minutes is given up. Latency: one picture of
224 x 224, merged, one thread, in turns with PyTorch, time of the process on its core.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tests'))
LIMIT = 480
ONE_SIZE = dict.fromkeys(('timm BEiT', 'timm Hiera'), (128, 128))
CONFIGS = ('mtlora/mtlora-r64_swin-t_pascal.py', 'faar/faar_swin-t_pascal.py')


def grid(names: list[str], dynamic_size: bool = False) -> None:
    from export.exported import METHODS, SIZE, SMALL, TASKS, compared, small

    tasks = {name: TASKS[name] for name in ('semseg', 'normals')}
    for name in names or ([] if dynamic_size else [*METHODS]) + [*SMALL]:
        start, size = time.process_time(), ONE_SIZE.get(name, SIZE)
        options = METHODS.get(name) or dict(family=name)
        with tempfile.TemporaryDirectory() as folder, at_most(LIMIT):
            try:
                model = small(**options, tasks=tasks, size=size)
                path = Path(folder) / 'model.onnx'
                rows, exported, _ = compared(model, path, size, dynamic_size=dynamic_size)
                classes, vectors = rows
                found = f'{vectors.largest:.1e} | {classes}'
                for other, worst in exported.elsewhere.items():
                    found += f' | {other[0]} x {other[1]}: {worst:.1e}'
            except Exception as failure:  # the table names it
                found = f'{type(failure).__name__}: {str(failure)[:300]}'
        print(f'| {name} | {found} | {time.process_time() - start:.0f} |', flush=True)


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """End what is within after a while, with a TimeoutError."""

    def end(*_: object) -> None:
        raise TimeoutError(f'given up after {seconds} s')

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


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


def transforms(_: list[str]) -> None:
    """A transform and its inverse of 4 x 18 maps of 56 x 56, as ONNX: by DFT, and by products."""
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    from mtpeft.benchmark.rounds import ratio, time_in_turns
    from mtpeft.models.necks.real_spectra import RealSpectrum

    class Products(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return RealSpectrum.of(x).pixels((56, 56))

    x = np.random.default_rng(0).standard_normal((72, 56, 56, 1)).astype(np.float32)
    axes = [helper.make_tensor(f'a{i}', TensorProto.INT64, (), [i]) for i in (1, 2)]
    nodes = [  # (real maps are given as complex ones: an inverse of half a spectrum came later)
        helper.make_node('DFT', ['x', '', 'a2'], ['w']),
        helper.make_node('DFT', ['w', '', 'a1'], ['f']),
        helper.make_node('DFT', ['f', '', 'a1'], ['v'], inverse=1),
        helper.make_node('DFT', ['v', '', 'a2'], ['y'], inverse=1),
    ]
    given = helper.make_tensor_value_info('x', TensorProto.FLOAT, x.shape)
    made = helper.make_tensor_value_info('y', TensorProto.FLOAT, (72, 56, 56, 2))
    graph = helper.make_graph(nodes, 'dft', [given], [made], axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
    program = torch.onnx.export(
        Products(), (torch.from_numpy(x[..., 0]),), dynamo=True, verbose=False
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runs = {}
    for name, proto, value in (
        ('DFT', model, x), ('products', program.model_proto, x[..., 0]),
    ):  # fmt: skip
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
        key = session.get_inputs()[0].name
        runs[name] = lambda session=session, feed={key: value}: session.run(None, feed)
        out = runs[name]()[0]
        print(name, 'error', float(np.abs(out.reshape(72, 56, 56, -1)[..., 0] - x[..., 0]).max()))
    times = time_in_turns(runs, rounds=15, clock='cpu')
    print('products / DFT', ratio(times['products'], times['DFT']))
    onnx.checker.check_model(model)


if __name__ == '__main__':
    commands = dict(
        parity=grid,
        sizes=partial(grid, dynamic_size=True),
        latency=latencies,
        transforms=transforms,
    )
    commands[sys.argv[1]](sys.argv[2:])
