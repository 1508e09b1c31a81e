"""mtpeft: parameter-efficient multi-task fine-tuning for dense prediction.

One frozen backbone, adapters swapped into its layers by pattern, a block run once per task, and
the stock MMEngine Runner around them.
"""

from mtpeft.utils.dependencies import find_package_configs, require_openmmlab, warn_of_twins
from mtpeft.utils.opencv import check_opencv
from mtpeft.version import __version__

require_openmmlab()
warn_of_twins()
check_opencv()
find_package_configs()

__all__ = ['__version__']
