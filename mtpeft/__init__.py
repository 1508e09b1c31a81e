"""mtpeft: parameter-efficient multi-task fine-tuning for dense prediction.

One frozen backbone, adapters swapped into its layers by pattern, a block run once per task, and
the stock MMEngine Runner around them.
"""

from mtpeft.utils.dependencies import require_openmmlab
from mtpeft.version import __version__

require_openmmlab()

__all__ = ['__version__']
