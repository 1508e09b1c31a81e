"""Packaging of mtpeft; dependencies are read from requirements/*.txt."""

import ast
from pathlib import Path

from setuptools import find_packages, setup

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


EXTRAS = {name: requirements(name) for name in ('mm', 'data', 'test', 'docs', 'demo')}
EXTRAS['all'] = sorted({line for lines in EXTRAS.values() for line in lines})

setup(
    name='mtpeft',
    version=version(),
    description='Parameter-efficient multi-task fine-tuning for dense prediction',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mtpeft', 'mtpeft.*']),
    package_data={'mtpeft': ['weights/*']},
    entry_points={'console_scripts': ['mtpeft = mtpeft.cli:main']},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require=EXTRAS,
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
