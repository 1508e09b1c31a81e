"""Clear messages for optional dependencies that are not installed, or installed twice."""

import warnings
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

_INSTALL = 'pip install "mtpeft[mm]"   (from a checkout: pip install -e ".[mm]")'

#: packages that write the same files: OpenMMLab's, and the maintained builds
_TWINS = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
}


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


def warn_of_twins() -> None:
    """Warn of an environment in which two packages have written the same files.

    Whichever was installed last has overwritten the other, so modules of two versions lie side by
    side, and removing either breaks both.
    """
    both = {
        module: found for module, names in _TWINS.items() if len(found := _installed(names)) > 1
    }
    if not both:
        return
    named = '; '.join(
        f'{" and ".join(found)} (both are {module})' for module, found in both.items()
    )
    packages = ' '.join(name for found in both.values() for name in found)
    warnings.warn(
        f'This environment holds packages that write the same files: {named}. Modules of two '
        'versions lie side by side in it. Remove both and install one:\n'
        f'    pip uninstall -y {packages}\n    {_INSTALL}',
        stacklevel=3,
    )


def find_package_configs() -> None:
    """Let ``_base_ = 'mtpeft::...'`` find our configs, and ``'mmseg::...'`` those of mmseg.

    MMEngine has a list of packages, without ours. For mmseg it looks for a package of the name
    ``mmsegmentation`` and asks for it to be installed, which would overwrite the maintained build.
    By the name of the module it finds either.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE['mtpeft'] = 'mtpeft'
    if not _installed(['mmsegmentation']):
        MODULE2PACKAGE['mmseg'] = 'mmseg'


def _installed(names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return found


def ignore_missing_operator() -> None:
    """Leave out mmcv's warning about an operator that the builds without compiled code lack.

    Nothing here uses it, and mmcv warns in every process. (A filter of Python that was set for all
    warnings, such as ``-W always``, comes first.)

    Example:
        >>> ignore_missing_operator()
    """
    text = 'Fail to import ``MultiScaleDeformableAttention``'
    warnings.filterwarnings('ignore', text, append=True)
