"""Fenced blocks and commands of the documentation."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
_BLOCK = re.compile(
    r'(?:<!-- no-run: (?P<reason>[^>]+?) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r'(?:^|\s)((?:python )?tools/\S+\.(?:py|sh)\b[^\n|`]*)')


class Block(NamedTuple):
    """A fenced block: its language, code, first line on the page, and why it is not run."""

    language: str
    code: str
    line: int
    reason: str | None

    @property
    def file(self) -> str | None:
        """The file that the block is said to be, in a comment on its first line."""
        found = re.match(r'# ((?:configs|mtpeft|tests)/\S+\.py)\n', self.code)
        return found and found[1]


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text(encoding='utf-8')
    found = [
        Block(m['language'], m['code'], text.count('\n', 0, m.start('code')) + 1, m['reason'])
        for m in _BLOCK.finditer(text)
    ]
    return [b for b in found if language in (None, b.language)]


def own_commands(page: Path) -> list[str]:
    """Calls of ``mtpeft`` in fenced blocks, with the continuation lines they have."""
    lines = [line for block in blocks(page, 'bash')
             for line in block.code.replace('\\\n', ' ').splitlines()]  # fmt: skip
    parts = [part.strip() for line in lines for part in re.split(r'&&|#', line)]
    return [part for part in parts if part.startswith('mtpeft ')]


def commands(page: Path) -> list[str]:
    """Calls of the scripts in tools/, with the continuation lines they have."""
    text = page.read_text(encoding='utf-8').replace('\\\n', ' ')
    return [re.split(r'&&|#|<', m[1])[0].strip() for m in _COMMAND.finditer(text)]
