"""Docstrings as Markdown for the API pages: an extension of Griffe, which reads the source.

The docstrings have roles and displayed formulas of reStructuredText, which the pages would print
as they are.
"""

import re

from griffe import Extension, Object

_ROLE = re.compile(r':(?:class|func|meth|mod|attr|data|obj|ref):`~?([^`]+)`')
_MATH = re.compile(r':math:`([^`]+)`')
_FORMULA = re.compile(
    r'^(?P<indent> *)\.\. math::(?P<same>[^\n]*)\n'
    r'(?P<block>(?:(?: *\n)*(?P=indent) +\S[^\n]*\n?)*)',
    re.MULTILINE,
)


def markdown(text: str) -> str:
    """A docstring with code marks in place of roles, and code blocks in place of formulas."""
    text = _FORMULA.sub(_code, text + '\n').rstrip('\n')
    text = _MATH.sub(lambda found: f'`{_plain(found[1])}`', _ROLE.sub(r'`\1`', text))
    return re.sub(r'^( *)Example:$', r'\1Examples:', text, flags=re.MULTILINE)


def _plain(formula: str) -> str:
    """LaTeX of a formula with fewer marks."""
    formula = re.sub(r'\\(?:mathrm|text|mathbf)\{([^}]*)\}', r'\1', formula)
    formula = re.sub(r'\\[,;! ]', ' ', formula.replace(r'\qquad', '   '))
    return re.sub(r'\\([A-Za-z]+)', r'\1', formula)


def _code(found: re.Match[str]) -> str:
    lines = [found['same'].strip(), *(line.strip() for line in found['block'].splitlines())]
    inside = [found['indent'] + _plain(line) for line in lines if line]
    return '\n'.join([found['indent'] + '```text', *inside, found['indent'] + '```', ''])


class Docstrings(Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: Object, **kwargs: object) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
