"""Packaging of mtpeft; dependencies are read from requirements/*.txt."""

import ast
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Lines of ``requirements/<name>.txt`` without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    stripped = (line.split('#')[0].strip() for line in lines)
    return [line for line in stripped if line]


def version() -> str:
    """What ``mtpeft/version.py`` assigns; the file is read, not run."""
    tree = ast.parse((ROOT / 'mtpeft' / 'version.py').read_text(encoding='utf-8'))
    (value,) = (n.value for n in tree.body if isinstance(n, ast.Assign))
    return ast.literal_eval(value)


class BuildWithConfigs(build_py):
    """Puts configs and scripts into the package, where MMEngine looks for those of a package.

    (In a checkout, also an editable one, ``mtpeft/.mim`` has links to them.)
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in ('configs', 'tools'):
            target = Path(self.build_lib) / 'mtpeft' / '.mim' / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns('__pycache__'))


EXTRAS = {
    name: requirements(name)
    for name in ('mm', 'data', 'test', 'docs', 'weights', 'demo', 'export', 'balance')
}
EXTRAS['all'] = sorted({line for lines in EXTRAS.values() for line in lines})

setup(
    name='mtpeft',
    version=version(),
    description='Parameter-efficient multi-task fine-tuning for dense prediction',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mtpeft', 'mtpeft.*']),
    package_data={'mtpeft': ['weights/*', 'py.typed', '.mim/model-index.yml', 'report/page.*']},
    cmdclass={'build_py': BuildWithConfigs},
    entry_points={'console_scripts': ['mtpeft = mtpeft.cli:main']},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require=EXTRAS,
    classifiers=[
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
