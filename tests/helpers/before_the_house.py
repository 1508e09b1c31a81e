"""Files that an earlier mtpeft wrote, and what its models made of one picture.

``tests/data/before_the_house`` was written on 2026-11-30 by commit b5880bd, from a newer checkout:

    git worktree add OLD b5880bd
    PYTHONPATH=OLD python tests/helpers/before_the_house.py

The base is no file: its weights are whole numbers over a power of two, the same on any machine.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = Path(__file__).parents[1] / 'data' / 'before_the_house'
TRAINED, PUBLISHED, MERGED = 'trained.pth', 'published.safetensors', 'merged.safetensors'
EPOCHS = 2  # of the run's four, after which it was cut off


def numbers(shape: tuple[int, ...], seed: int) -> Tensor:
    """Numbers in [-.5, .5) that float32 holds exactly."""
    i = torch.arange(torch.Size(shape).numel()) + 1009 * seed
    return ((i * i * 40503 + i * 9973) % 65536 / 65536 - 0.5).view(shape)


def write_base(path: Path) -> None:
    """The weights of the config's network."""
    options = dict(Config.fromfile(FOLDER / 'config.py').model.backbone.backbone)
    name = options.pop('type').split('.', 1)[1]
    options.pop('pretrained')
    state = timm.create_model(name, num_classes=0, **options).state_dict()
    for seed, (key, value) in enumerate(sorted(state.items())):
        if value.is_floating_point():
            norm = value.ndim == 1 and key.endswith('weight')
            state[key] = 1 + numbers(value.shape, seed) / 4 if norm else numbers(value.shape, seed)
    torch.save(state, path)


def config(base: Path) -> Config:
    """The config, on the base in a file."""
    cfg = Config.fromfile(FOLDER / 'config.py')
    cfg.model.backbone.backbone.pretrained = str(base)
    return cfg


def outputs(model: torch.nn.Module) -> dict[str, Tensor]:
    """Some of the logits of one picture, by task."""
    with torch.no_grad():
        logits = model(4 * numbers((1, 3, 32, 32), 0))
    return {task: values[..., ::4, ::4].contiguous() for task, values in logits.items()}


def expected(file: str) -> dict[str, Tensor]:
    """What :func:`outputs` gave when ``file`` was written."""
    stored = load_file(FOLDER / 'outputs.safetensors')
    names = {key: key.split('/') for key in stored}
    return {task: stored[key] for key, (owner, task) in names.items() if owner == file}


def moments(runner) -> dict[str, float]:
    """Of each trained parameter, the sum of the optimizer's momentum."""
    state = runner.optim_wrapper.optimizer.state
    return {
        name: float(state[parameter]['momentum_buffer'].double().sum())
        for name, parameter in runner.model.named_parameters() if parameter in state
    }  # fmt: skip


class Stir(Hook):
    """Starts away from zero, since four steps move what starts there too little to be seen."""

    def before_train(self, runner) -> None:
        backbone = runner.model.backbone
        for seed, parameter in enumerate(p for p in backbone.parameters() if p.requires_grad):
            parameter.data += numbers(tuple(parameter.shape), seed)


def write() -> None:
    """Train, publish and merge with the code that is imported."""
    import mtpeft
    from mtpeft.apis import build_runner, init_model

    tools = Path(mtpeft.__file__).parents[1] / 'tools' / 'model_converters'
    print(f'with the code beside {tools}')
    write_base(Path('base.pth'))
    cfg = config(Path('base.pth'))
    cfg.train_cfg.max_epochs = EPOCHS
    runner = build_runner(cfg, work_dir='run')
    runner.register_hook(Stir(), priority='HIGHEST')
    runner.train()
    (FOLDER / 'moments.json').write_text(json.dumps(moments(runner), indent=0))
    Path(f'run/epoch_{EPOCHS}.pth').rename(FOLDER / TRAINED)
    for tool, *words in (
        ('publish_model.py', FOLDER / TRAINED, FOLDER / PUBLISHED),
        ('merge_adapters.py', FOLDER / 'config.py', FOLDER / TRAINED, FOLDER / MERGED),
    ):
        command = [sys.executable, tools / tool, *words, '--force']
        subprocess.run([str(word) for word in command], check=True)
    stored = {}
    for file in (TRAINED, PUBLISHED, MERGED):
        for task, values in outputs(init_model(FOLDER / 'config.py', FOLDER / file)).items():
            stored[f'{file}/{task}'] = values
    save_file(stored, FOLDER / 'outputs.safetensors')


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write()
