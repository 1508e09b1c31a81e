"""Every registered part of a model has an example, and it runs."""

import doctest
import importlib
import sys

import pytest

from mtpeft.registry import MODELS

MODELS.import_from_location()
PARTS = [
    cls for cls in MODELS.module_dict.values()
    if cls.__module__.startswith('mtpeft.models') and '.backbones' not in cls.__module__
]  # fmt: skip


def run(name, obj, module):
    runner = doctest.DocTestRunner()
    tests = [t for t in doctest.DocTestFinder(recurse=False).find(obj, name, module=module)]
    for test in tests:
        runner.run(test)
    return runner.summarize(verbose=False)


@pytest.mark.parametrize('cls', PARTS, ids=lambda cls: cls.__name__)
def test_example(cls):
    results = run(cls.__name__, cls, sys.modules[cls.__module__])
    assert results.attempted >= 2 and results.failed == 0


@pytest.mark.parametrize('name', ['components.parameter_components'])
def test_example_of_a_function(name):
    path, function = name.split('.')
    module = importlib.import_module(f'mtpeft.models.{path}')
    results = run(name, getattr(module, function), module)
    assert results.attempted >= 2 and results.failed == 0


def test_all_parts_are_there():
    assert len(PARTS) >= 11
