"""Clear messages for optional dependencies that are not installed."""

from importlib.util import find_spec

_INSTALL = 'pip install "mtpeft[mm]"   (from a checkout: pip install -e ".[mm]")'


def require_openmmlab() -> None:
    """Check that the OpenMMLab packages can be imported.

    Raises:
        ImportError: naming the missing packages and the command that installs them.
    """
    missing = [name for name in ('mmengine', 'mmcv', 'mmseg') if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'mtpeft needs {", ".join(missing)}, which {"is" if len(missing) == 1 else "are"} not '
            f'installed. The extra "mm" installs maintained builds that need no compiler:\n'
            f'    {_INSTALL}\n'
            'With an OpenMMLab stack of your own (mmengine, mmcv, mmsegmentation), install mtpeft '
            'without the extra; never mix mmengine and onedl-mmengine in one environment.'
        )
