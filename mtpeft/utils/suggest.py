"""Error texts that name the nearest valid values."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, valid: Iterable[str], n: int = 3, cutoff: float = 0.5) -> list[str]:
    """Up to ``n`` entries of ``valid`` that look most like ``word`` (case is ignored)."""
    by_lower = {}
    for name in valid:
        by_lower.setdefault(name.lower(), name)
    return [
        by_lower[m] for m in get_close_matches(word.lower(), list(by_lower), n=n, cutoff=cutoff)
    ]


def is_slip(text: str, word: str) -> bool:
    """Whether a text is nearly a word, which it was meant to be.

    Example:
        >>> is_slip('memroy', 'memory'), is_slip('memory', 'memory'), is_slip('./memroy', 'memory')
        (True, False, False)
    """
    return text != word and '/' not in text and bool(nearest(text, [word], cutoff=0.75))


def one_slip(word: str, others: Iterable[str]) -> str | None:
    """The one of ``others`` that differs by a letter more, less, other, or two in another order.

    Example:
        >>> one_slip('train_cgf', ['train_cfg']), one_slip('train_data', ['train_cfg'])
        ('train_cfg', None)
    """
    return next((other for other in others if word != other and _is_one_edit(word, other)), None)


def _is_one_edit(a: str, b: str) -> bool:
    same = next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    a, b = a[same:], b[same:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def hint(word: str, valid: Iterable[str], limit: int = 12) -> str:
    """A sentence: the nearest names when there are any, then the (shortened) list of all names.

    Example:
        >>> hint('semsg', ['semseg', 'depth'])
        "Did you mean 'semseg'? Valid names: depth, semseg."
    """
    names = sorted(set(map(str, valid)))
    close = nearest(str(word), names)
    text = f'Did you mean {" or ".join(map(repr, close))}? ' if close else ''
    if not names:
        return text + 'There are no valid names.'
    shown = ', '.join(names[:limit]) + (
        f', ... ({len(names)} in all)' if len(names) > limit else ''
    )
    return f'{text}Valid names: {shown}.'
