"""Whether a value of a config fits an annotation; if not, where, what was expected, what came."""

import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from mtpeft.utils.kinds import Built, Range, Words
from mtpeft.utils.suggest import hint, is_slip


class ConfigError(ValueError):
    """A mistake in a config; the message starts with its place."""

    def __str__(self) -> str:
        # (KeyError would print the repr)
        return str(self.args[0]) if self.args else ''


class ConfigTypeError(ConfigError, TypeError):
    """A value, or an option, of a wrong kind."""


class ConfigKeyError(ConfigError, KeyError):
    """A name that is not known."""


#: what looks after dicts that a registry builds: (value, how, place)
BuiltCheck = Callable[[Any, Built, str], None]

_PLAIN = (str, bytes, numbers.Number, type(None), Mapping, list, tuple, set)
_WORDS = {int: 'an integer', float: 'a number', bool: 'True or False', str: 'a text',
          type(None): 'None', Path: 'a path'}  # fmt: skip


def check_fits(value: Any, annotation: Any, place: str, built: BuiltCheck) -> None:
    """Compare a value with an annotation, at any depth.

    Args:
        value: Of a config. An object that was built already fits every annotation of a class.
        annotation: A type, ``X | Y``, ``Literal``, containers, a ``TypedDict``, or ``Annotated``
            with a :class:`Range` or :class:`Built`.
        place: Where the value stands, such as ``'model.necks.0.scales'``.
        built: Called for each dict that a registry builds.

    Raises:
        ConfigError: the value does not fit.

    Example:
        >>> check_fits([1, '2'], list[int], 'sizes', print)
        Traceback (most recent call last):
        ...
        mtpeft.utils.fits.ConfigTypeError: sizes.1: expected an integer, got '2'.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (Any, inspect.Parameter.empty) or isinstance(annotation, typing.TypeVar):
        return check_finite(value, place)
    if origin is Annotated:
        return _check_annotated(value, arguments[0], arguments[1:], place, built)
    if origin in (typing.Union, types.UnionType):
        return _check_union(value, arguments, place, built)
    if origin is Literal:
        return _check_choice(value, arguments, place)
    if typing.is_typeddict(annotation):
        return check_table(value, annotation, place, built)
    return _check_class(value, origin or annotation, arguments, place, built)


def check_finite(value: Any, place: str) -> None:
    """Refuse numbers that are not finite, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f'{place}: expected a finite number, got {value}.')
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_finite(inner, f'{place}.{key}')
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            check_finite(inner, f'{place}.{index}')


def check_table(value: Any, table: Any, place: str, built: BuiltCheck) -> None:
    """A dict whose keys and their values' types are known."""
    if not isinstance(value, Mapping):
        _refuse(value, 'a dict', place)
    hints = typing.get_type_hints(table, include_extras=True)
    for key, inner in value.items():
        if key not in hints:
            raise ConfigTypeError(f"{place}: there is no option '{key}'. {hint(str(key), hints)}")
        check_fits(inner, hints[key], f'{place}.{key}', built)
    for key in sorted(table.__required_keys__ - set(value)):
        raise ConfigTypeError(f"{place}: '{key}' is missing, got {shown(list(value))}.")


def shown(value: Any) -> str:
    """A value in a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + '...'


def described(annotation: Any) -> str:
    """An annotation in words.

    Example:
        >>> described(int | None), described(Literal['a', 'b'])
        ('an integer or None', "one of 'a', 'b'")
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        limits = [str(extra) for extra in arguments[1:] if isinstance(extra, Range)]
        dicts = ['a dict with `type`' for extra in arguments[1:] if isinstance(extra, Built)]
        return dicts[0] if dicts else ' '.join([described(arguments[0]), *limits]).strip()
    if origin in (typing.Union, types.UnionType):
        return ' or '.join(dict.fromkeys(map(described, arguments)))
    if origin is Literal:
        return 'one of ' + ', '.join(map(repr, arguments))
    plain = origin or annotation
    if plain in _WORDS:
        return _WORDS[plain]
    if not inspect.isclass(plain):
        return str(plain)
    if issubclass(plain, Mapping):
        return 'a dict'
    if issubclass(plain, Iterable):
        inner = [described(a) for a in arguments if a is not Ellipsis and a is not Any]
        number = f' of {len(arguments)}' if plain is tuple and Ellipsis not in arguments else ''
        number = number if arguments else ''
        return f'a list{number}' + (f' ({inner[0]} each)' if inner else '')
    return 'a function' if plain is Callable else f'a {plain.__name__}'


def _refuse(value: Any, expected: str, place: str) -> typing.NoReturn:
    raise ConfigTypeError(f'{place}: expected {expected}, got {shown(value)}.')


def _check_annotated(
    value: Any, inner: Any, extras: tuple, place: str, built: BuiltCheck
) -> None:  # fmt: skip
    for extra in extras:
        if isinstance(extra, Built):
            return built(value, extra, place)
    limits = [extra for extra in extras if isinstance(extra, Range)]
    infinite = any(limit.infinite for limit in limits) and value in (math.inf, -math.inf)
    if not infinite:
        check_fits(value, inner, place, built)
    for word in [word for extra in extras if isinstance(extra, Words) for word in extra.words]:
        if isinstance(value, str) and is_slip(value, word):
            raise ConfigError(
                f"{place}: expected '{word}' or a path, got '{value}'. Did you mean '{word}'? A "
                f"folder of that name is './{value}'."
            )
    for limit in limits:
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            if not limit.holds(value):
                kind = described(inner)
                raise ConfigError(f'{place}: expected {kind} {limit}, got {shown(value)}.')
    return None


def _check_union(value: Any, members: tuple, place: str, built: BuiltCheck) -> None:
    mistakes = []
    for member in members:
        try:
            return check_fits(value, member, place, built)
        except ConfigError as error:
            mistakes.append(error)
    # the member of the right kind has found something inside, or a number out of bounds
    for error in mistakes:
        inside = not str(error).startswith(f'{place}: expected')
        if inside or type(error) is ConfigError or str(error).startswith(f'{place}: expected one'):
            raise error
    return _refuse(value, described(typing.Union[members]), place)  # noqa: UP007


def _check_choice(value: Any, choices: tuple, place: str) -> None:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        named = hint(str(value), map(str, choices))
        raise ConfigError(
            f'{place}: expected one of {", ".join(map(repr, choices))}, got {shown(value)}. {named}'
        )


def _check_class(
    value: Any, kind: Any, arguments: tuple, place: str, built: BuiltCheck
) -> None:  # fmt: skip
    if kind is None or kind is type(None):
        fits = value is None
    elif kind is bool:
        fits = type(value).__name__ in ('bool', 'bool_')
    elif kind is int:
        fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    elif kind is float:
        fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
        fits and check_finite(value, place)
    elif kind is str:
        fits = isinstance(value, str)
    elif inspect.isclass(kind) and issubclass(kind, Mapping):
        return _check_mapping(value, arguments, place, built)
    elif _is_sequence(kind):
        return _check_sequence(value, kind, arguments, place, built)
    else:
        fits = not isinstance(value, _PLAIN) or (inspect.isclass(kind) and isinstance(value, kind))
    if not fits:
        words = arguments and kind or kind
        _refuse(value, described(words), place)
    return None


def _is_sequence(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Iterable) and (
        kind in (list, tuple, set) or kind.__module__ == 'collections.abc'
    )  # fmt: skip


def _check_mapping(value: Any, arguments: tuple, place: str, built: BuiltCheck) -> None:
    if not isinstance(value, Mapping):
        _refuse(value, 'a dict', place)
    inner = arguments[1] if len(arguments) == 2 else Any
    for key, item in value.items():
        check_fits(item, inner, f'{place}.{key}', built)


def _check_sequence(
    value: Any, kind: Any, arguments: tuple, place: str, built: BuiltCheck
) -> None:  # fmt: skip
    words = described(kind[arguments] if arguments else kind)
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        _refuse(value, words, place)
    if not isinstance(value, (list, tuple, set, range)):
        return  # an array, or an iterator: looking would use it up
    fixed = kind is tuple and arguments and Ellipsis not in arguments
    if fixed and len(value) != len(arguments):
        raise ConfigError(f'{place}: expected {words}, got {len(value)}: {shown(value)}.')
    for index, item in enumerate(value):
        inner = arguments[index] if fixed else arguments[0] if arguments else Any
        check_fits(item, inner, f'{place}.{index}', built)
