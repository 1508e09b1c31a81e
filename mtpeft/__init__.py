"""mtpeft: parameter-efficient multi-task fine-tuning for dense prediction.

One frozen backbone, adapters swapped into its layers by pattern, a block run once per task, and
the stock MMEngine Runner around them.
"""

from importlib import import_module
from typing import Any

from mtpeft.utils.dependencies import (
    find_package_configs,
    ignore_missing_operator,
    require_openmmlab,
    warn_of_twins,
)
from mtpeft.utils.opencv import check_opencv
from mtpeft.version import __version__

require_openmmlab()
warn_of_twins()
check_opencv()
find_package_configs()
ignore_missing_operator()

#: names of the package itself, and where they are; imported when they are first asked for
_WHERE = {
    'adapt': 'mtpeft.models',
    'from_pretrained': 'mtpeft.apis',
    'list_models': 'mtpeft.apis',
    'push_to_hub': 'mtpeft.apis',
    'save_pretrained': 'mtpeft.apis',
}

__all__ = ['__version__', *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mtpeft' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
