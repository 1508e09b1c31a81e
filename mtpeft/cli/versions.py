"""Versions that a report of a bug should name."""

import platform
from importlib.metadata import PackageNotFoundError, version

from mtpeft.version import __version__

#: each line names the first package of it that is installed
_PACKAGES = (
    ('torch',), ('torchvision',), ('timm',), ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'), ('onedl-mmsegmentation', 'mmsegmentation'),
    ('numpy',), ('opencv-python', 'opencv-python-headless'),
)  # fmt: skip


def versions() -> str:
    """mtpeft, Python, the packages that matter, and the device that a run would take.

    Example:
        >>> versions().splitlines()[0].split()[0]
        'mtpeft'
    """
    lines = [('mtpeft', __version__), ('Python', platform.python_version())]
    lines += [_installed(names) for names in _PACKAGES]
    lines.append(('device', _device()))
    width = max(len(name) for name, _ in lines)
    return '\n'.join(f'{name:<{width}}  {text}' for name, text in lines)


def _installed(names: tuple[str, ...]) -> tuple[str, str]:
    found = []
    for name in names:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    if not found:
        return names[0], 'not installed'
    return ' + '.join(n for n, _ in found), ' + '.join(dict.fromkeys(v for _, v in found))


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return f'{count} x {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'
    built = torch.version.cuda
    return 'cpu' + (f' (torch is built for CUDA {built}, no GPU is seen)' if built else '')
