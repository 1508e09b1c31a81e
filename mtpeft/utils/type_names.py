"""What a config's ``type`` is called, be it a text or a class."""

from collections.abc import Mapping
from typing import Any


def type_name(spec: Any) -> str:
    """The bare name of a type, or of that of a dict; empty where there is none.

    Args:
        spec: A text, with or without scope or module, a class or function, a dict with ``type``, or
            an object that was built already.

    Example:
        >>> from mmengine.optim import OptimWrapper
        >>> type_name('mmengine.OptimWrapper'), type_name(dict(type=OptimWrapper)), type_name(None)
        ('OptimWrapper', 'OptimWrapper', '')
    """
    kind = spec.get('type') if isinstance(spec, Mapping) else spec
    if kind is None:
        return ''
    if isinstance(kind, str):
        return kind.split('.')[-1]
    return getattr(kind, '__name__', type(kind).__name__)
