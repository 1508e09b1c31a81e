"""HTML from nested calls; text is escaped wherever it comes from."""

import base64
from html import escape

VOID = frozenset({'meta', 'img', 'input', 'br', 'link'})


class Html(str):
    """Text that is HTML already."""


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. Children that are no :class:`Html` are escaped, ``None`` is left out.

    ``class_`` and ``for_`` lose their underscore, others become dashes; an attribute of ``True``
    has no value, one of ``None`` or ``False`` is left out.

    Example:
        >>> tag('p', 'a < b', tag('b', 'c'), class_='note')
        '<p class="note">a &lt; b<b>c</b></p>'
    """
    said = ''.join(
        f' {_name(key)}' if value is True else f' {_name(key)}="{escape(str(value))}"'
        for key, value in attributes.items() if value is not None and value is not False
    )  # fmt: skip
    if name in VOID:
        return Html(f'<{name}{said}>')
    return Html(f'<{name}{said}>{join(*children)}</{name}>')


def join(*children: object) -> Html:
    """Several one after another; lists are joined too."""
    parts = []
    for child in children:
        if isinstance(child, list | tuple):
            parts.append(join(*child))
        elif child is not None:
            parts.append(child if isinstance(child, Html) else escape(str(child)))
    return Html(''.join(parts))


def table(
    header: list[object], rows: list[list[object]], class_: str = '', numbers: int = 1
) -> Html:
    """A table that scrolls by itself where it is wider than the page.

    Args:
        header: A cell a column.
        rows: Cells; one that is a ``<td>`` already stays so.
        class_: Of the table.
        numbers: The first column that holds numbers, which stand to the right.
    """

    def cell(kind: str, value: object, column: int) -> Html:
        if isinstance(value, Html) and value.startswith(('<td', '<th')):
            return value
        return tag(kind, value, class_='number' if column >= numbers else None)

    head = tag('tr', [cell('th', value, i) for i, value in enumerate(header)])
    body = [tag('tr', [cell('td', value, i) for i, value in enumerate(row)]) for row in rows]
    inner = tag('table', tag('thead', head), tag('tbody', body), class_=class_ or None)
    return tag('div', inner, class_='scroll')


def image_source(data: bytes, kind: str = 'jpeg') -> str:
    """A picture as an address that holds it."""
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def _name(key: str) -> str:
    return key.rstrip('_').replace('_', '-')
