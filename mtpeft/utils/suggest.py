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
