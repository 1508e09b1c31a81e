"""Operations equal to a plain formula, made faster. None of them knows a method.

:func:`plain` switches all of them off.
"""

from mtpeft.ops.plain import plain, plain_ops

__all__ = ['plain', 'plain_ops']
