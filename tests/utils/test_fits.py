"""A value fits an annotation or is named with its place; options come from signatures."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

import pytest
from torch import nn

from mtpeft.utils.fits import ConfigError, check_fits
from mtpeft.utils.kinds import Count, Positive, Range, Share
from mtpeft.utils.options import documented_types, options_of


class Table(TypedDict, total=False):
    width: Count
    mode: Literal['a', 'b']


NAN, INF = float('nan'), float('inf')


def fits(value, annotation):
    try:
        check_fits(value, annotation, 'place', lambda *_: None)
    except ConfigError as error:
        assert str(error).startswith('place')
        return str(error)
    return True


@pytest.mark.parametrize(
    ('annotation', 'good', 'bad'),
    [
        (int, [1, -3], [1.0, True, '1', None, [1], NAN]),
        (float, [1, 2.5], ['1', True, None, NAN, INF, [1.0]]),
        (bool, [True], [1, 'True', None]),
        (str, ['', 'a'], [1, None, ['a']]),
        (int | None, [None, 3], ['3', 2.5, []]),
        (Literal['a', 2], ['a', 2], ['b', 2.0, None, True]),
        (Sequence[int], [[], [1], (1, 2)], [1, 'ab', {'a': 1}, [1, '2'], None]),
        (tuple[int, int], [[1, 2], (1, 2)], [[1], [1, 2, 3], 1, [1, 'b']]),
        (tuple[int, ...], [[], [1, 2, 3]], [['b'], 'b']),
        (Mapping[str, int], [{}, {'a': 1}], [[], {'a': 'b'}, 1, None]),
        (Count, [1, 8], [0, -1, 1.5]),
        (Positive, [0.1, 3], [0, -1, NAN, INF]),
        (Share, [0, 0.5, 1], [1.5, -0.1]),
        (Annotated[int, Range(1, also=(-1,))], [-1, 1], [0, -2]),
        (Annotated[float, Range(0, infinite=True)], [INF, 2], [-INF, NAN, -1]),
        (Table, [{}, {'width': 2, 'mode': 'a'}], [{'widht': 1}, {'width': 0}, {'mode': 'c'}, []]),
        (Any, [None, 1, [1], {'a': [1]}], [NAN, [1, INF], {'a': [NAN]}]),
        (nn.Module | Mapping, [nn.Identity(), {}], [1, 'text', None, []]),
    ],
)
def test_what_fits_and_what_does_not(annotation, good, bad):
    assert [fits(value, annotation) for value in good] == [True] * len(good)
    for value in bad:
        assert fits(value, annotation) is not True, value


@pytest.mark.parametrize(
    ('value', 'annotation', 'message'),
    [
        (
            {'a': [1, 'x']},
            Mapping[str, Sequence[int]],
            r"^place\.a\.1: expected an integer, got 'x'",
        ),
        ('memroy', Literal['memory', 'disk'], "one of 'memory', 'disk'.*Did you mean 'memory'"),
        ({'widht': 1}, Table, "no option 'widht'. Did you mean 'width'"),
        ([1], tuple[int, int], r'expected a list of 2 \(an integer each\), got 1'),
        (0, Count | None, 'expected an integer at least 1, got 0'),
        ('3', Count | None, "expected an integer at least 1 or None, got '3'"),
        ([0.5, [1]], Share | Sequence[Share], r'place\.1: expected'),
    ],
)
def test_the_message_has_the_place_and_what_was_expected(value, annotation, message):
    with pytest.raises(ConfigError, match=message):
        check_fits(value, annotation, 'place', lambda *_: None)


class Base:
    def __init__(self, first, width: int = 1, depth=2):
        """Args:
        depth (int, optional): Of it.
        """


class Passing(Base):
    def __init__(self, height: float, **kwargs):
        super().__init__('first', **kwargs)


class Asking(Base):
    def __init__(self, **kwargs):
        if 'width' in kwargs:
            self.wide = True
        super().__init__('first', **kwargs)


class Looking(Base):
    def __init__(self, **kwargs):
        if kwargs.setdefault('width', 2) != 2 or kwargs.get('depth'):
            kwargs['width'] = kwargs['depth']
        super().__init__('first', **kwargs)


class Taking(Base):
    def __init__(self, **kwargs):
        self.name = kwargs.pop('name', None)
        super().__init__('first', **kwargs)


class Keeping(Base):
    def __init__(self, height, **kwargs):
        super().__init__('first')
        self.rest = kwargs


class Module(nn.Module):
    pass


def maker(name: str = 'x', **options: Any) -> Passing: ...


def test_options_of_parents_count_where_they_are_passed_on():
    passing, keeping = options_of(Passing), options_of(Keeping)
    # `first` is given by position, so it is no option
    assert list(passing.known) == ['height', 'width', 'depth'] and not passing.open
    assert passing.known['height'].required and not passing.known['width'].required
    assert list(keeping.known) == ['height'] and keeping.open
    assert not options_of(Asking).open and options_of(Taking).open
    assert not options_of(Looking).open and 'width' in options_of(Looking).known
    assert not options_of(Module).known and not options_of(Module).open


def test_options_of_a_function_are_those_of_what_it_returns():
    found = options_of(maker)
    assert set(found.known) == {'name', 'height', 'width', 'depth'} and not found.open
    assert not any(option.required for option in found.known.values())


def test_a_docstring_counts_where_there_is_no_annotation():
    assert options_of(Base).known['depth'].annotation == (int | None)
    assert options_of(Base).known['first'].annotation is Any
    text = nn.Module()
    text.__doc__ = 'Args:\n    a (int): x\n    b (str or float): y\n    c (Foo): z'
    assert documented_types(type('T', (), {'__doc__': text.__doc__})) == {
        'a': int,
        'b': str | float,
    }
