"""What a command says before it begins."""

import os

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner

from mtpeft.utils.dist import unwrap
from mtpeft.version import __version__

_UNITS = {'max_epochs': 'epoch', 'max_iters': 'iteration'}


def print_first_screen(runner: Runner, what: str) -> None:
    """Print what runs, where it writes, and how many parameters train.

    Only the first of several processes does.

    Args:
        runner: The run, which has not begun.
        what: Name of the command.
    """
    if is_main_process():
        print(first_screen(runner, what), flush=True)


def first_screen(runner: Runner, what: str) -> str:
    """The lines of :func:`print_first_screen`."""
    model = unwrap(runner.model)
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    config = runner.cfg.filename
    lines = {
        'config': _short(config) if config else 'made in Python',
        'tasks': ', '.join(getattr(model, 'tasks', ())),
        'device': _device(runner),
        'writes to': f'{_short(runner.work_dir)} (log: {_short(runner.log_dir)})',
    }
    if what == 'train':
        lines['length'] = _length(runner)
        lines['parameters'] = f'{trained:,} of {total:,} train ({trained / max(total, 1):.1%})'
    else:
        lines['parameters'] = f'{total:,}'
    rows = [f'  {name:<10}  {text}' for name, text in lines.items() if text]
    return '\n'.join([f'mtpeft {__version__}: {what}', *rows])


def _device(runner: Runner) -> str:
    device = next(runner.model.parameters()).device
    name = f'{device} ({torch.cuda.get_device_name(device)})' if device.type == 'cuda' else device
    count = get_world_size()
    words = [str(name), *([f'{count} processes'] if count > 1 else [])]
    wrapper = runner.optim_wrapper
    kind = wrapper.get('type') if isinstance(wrapper, dict) else type(wrapper)
    if kind in (AmpOptimWrapper, 'AmpOptimWrapper'):
        words.append('mixed precision')
    return ', '.join(words)


def _length(runner: Runner) -> str:
    """Epochs, or iterations where the loop is of these."""
    loop = runner.cfg.get('train_cfg') or {}
    found = next(((loop[key], unit) for key, unit in _UNITS.items() if key in loop), None)
    return f'{found[0]} {found[1]}{"s" * (found[0] != 1)}' if found else ''


def _short(path: str) -> str:
    """A path from here, where it is below."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith('..') else relative
