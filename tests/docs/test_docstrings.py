"""The examples in docstrings run, and everything that a config can name has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import mtpeft
from mtpeft import registry

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = [found.name for found in pkgutil.walk_packages(mtpeft.__path__, 'mtpeft.')]


def registered():
    """Classes of mtpeft in any of its registries."""
    classes = set()
    for known in vars(registry).values():
        if isinstance(known, registry._Registry):
            known.import_from_location()
            classes |= {c for c in known.module_dict.values() if inspect.isclass(c)}
    return sorted((c for c in classes if c.__module__.startswith('mtpeft.')), key=str)


@pytest.mark.parametrize('name', MODULES)
def test_examples_of_a_module_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=OPTIONS).failed == 0


@pytest.mark.parametrize('cls', registered(), ids=lambda cls: cls.__name__)
def test_what_a_config_names_has_an_example(cls):
    assert '>>>' in (cls.__doc__ or ''), f'{cls.__module__}.{cls.__name__} has no Example'


def test_the_registries_were_found():
    assert len(registered()) > 30
