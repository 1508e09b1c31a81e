"""What options a class or function takes, from its signature, its parents' and its docstring."""

import ast
import functools
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

EMPTY = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """One option: what its annotation says, its default, and the class that has it."""

    name: str
    annotation: Any
    default: Any
    owner: Any

    @property
    def required(self) -> bool:
        return self.default is EMPTY


@dataclass
class Options:
    """Options by name. ``open``: there may be others; ``keeper`` is the class that takes them."""

    known: dict[str, Option] = field(default_factory=dict)
    open: bool = False
    keeper: Any = None


@functools.lru_cache(maxsize=1024)
def options_of(target: Callable) -> Options:
    """Options of a class, its parents' where it passes ``**kwargs`` on to them, or of a function.

    A function with ``**kwargs`` has the options of the class that it says it returns, and may fill
    in those that the class needs.

    Example:
        >>> from mmengine.optim import LinearLR
        >>> options = options_of(LinearLR)
        >>> {'start_factor', 'begin', 'by_epoch'} <= set(options.known), options.open
        (True, False)
    """
    found = Options()
    if not inspect.isclass(target):
        open_ended = _add(found, target, target, skip=0)
        returned = _hints(target).get('return')
        if open_ended and inspect.isclass(returned) and returned is not target:
            inner = options_of(returned)
            filled = {n: replace(option, default=None) for n, option in inner.known.items()}
            found.known = {**filled, **found.known}
            open_ended = inner.open
        found.open = open_ended
        return found
    # what a parent is given by position is no option any more
    taken = 0
    for owner in inspect.getmro(target):
        init = vars(owner).get('__init__')
        if init is None or owner is object:
            continue
        if not _add(found, init, owner, skip=1 + taken) or owner is nn.Module:
            # (torch's modules take keywords only to refuse them)
            return found
        taken = _passed_on(init)
        found.keeper = owner
        if taken is None:
            break
    found.open = True
    return found


def _add(found: Options, function: Callable, owner: Any, skip: int) -> bool:
    """Add a function's options to ``found``; whether it takes any keyword."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return True
    hints = _hints(function)
    documented = None
    for parameter in parameters[skip:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = hints.get(parameter.name, EMPTY)
        if annotation is EMPTY:
            documented = documented_types(owner, function) if documented is None else documented
            annotation = documented.get(parameter.name, Any)
        option = Option(parameter.name, annotation, parameter.default, owner)
        found.known.setdefault(parameter.name, option)
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _hints(function: Callable) -> dict[str, Any]:
    """Annotations, evaluated one by one: a name that is known to no module tells nothing."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        raw = getattr(function, '__annotations__', {})
        names = {**vars(typing), **getattr(function, '__globals__', {})}
        return {name: _evaluated(value, names) for name, value in raw.items()}


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(names))  # the source of an installed package, no config
    except Exception:
        return Any


def _passed_on(init: Callable) -> int | None:
    """How many arguments go to the parent by position where ``**kwargs`` goes there whole.

    ``None``: they go elsewhere, so nothing is known of them.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return None
    taken = getattr(getattr(tree.body[0], 'args', None), 'kwarg', None)
    if taken is None:
        return None  # (the file has changed since it was imported)
    name = taken.arg
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    passing = [c for c in calls if any(_is_double_star(k, name) for k in c.keywords)]
    uses = sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree))
    asked = sum(_only_looks(node, name) for node in ast.walk(tree))
    if len(passing) != 1 or uses != 1 + asked or not _calls_parent(passing[0]):
        return None
    return sum(not isinstance(argument, ast.Starred) for argument in passing[0].args)


def _only_looks(node: ast.AST, name: str) -> bool:
    """Whether keywords are asked for one, or one is set: none is taken away."""
    if isinstance(node, ast.Compare):
        return any(getattr(c, 'id', '') == name for c in node.comparators)
    kept = isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Del)
    kept |= isinstance(node, ast.Attribute) and node.attr in ('get', 'setdefault')
    return kept and getattr(node.value, 'id', '') == name


def _is_double_star(keyword: ast.keyword, name: str) -> bool:
    value = keyword.value
    return keyword.arg is None and isinstance(value, ast.Name) and value.id == name


def _calls_parent(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == '__init__'
        and isinstance(function.value, ast.Call)
        and getattr(function.value.func, 'id', '') == 'super'
    )


_LINE = re.compile(r'^\s*(\w+) \(([^)]+)\):', flags=re.M)
_WORDS = {
    'int': int, 'float': float, 'bool': bool, 'str': str, 'dict': Mapping, 'list': Sequence,
    'tuple': Sequence, 'sequence': Sequence, 'none': None, 'optional': None,
}  # fmt: skip


def documented_types(*sources: Any) -> dict[str, Any]:
    """Types that docstrings in Google's style give, ``name (int or float, optional): ...``.

    A type that is written in any other way tells nothing.

    Example:
        >>> def step(size): 'Args:\\n    size (int or str): Of a step.'
        >>> documented_types(step) == dict(size=int | str)
        True
    """
    text = '\n'.join(inspect.getdoc(source) or '' for source in sources)
    found = {}
    for name, words in _LINE.findall(text):
        kinds = [w for w in re.split(r'\s*(?:,|\bor\b|\|)\s*', words.strip().lower()) if w]
        if kinds and all(kind in _WORDS for kind in kinds):
            found.setdefault(name, typing.Union[tuple(_WORDS[k] for k in kinds)])  # noqa: UP007
    return found
