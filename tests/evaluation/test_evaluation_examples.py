"""The examples in the docstrings of the evaluation package run."""

import doctest
import importlib
import pkgutil

import pytest

import mtpeft.evaluation

MODULES = [m.name for m in pkgutil.walk_packages(mtpeft.evaluation.__path__, 'mtpeft.evaluation.')]


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
