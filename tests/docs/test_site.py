"""The site: every page is in its menu, opens in the same way, and names what exists."""

import importlib
import re

import pytest
import yaml
from helpers.markdown import ROOT, blocks

DOCS = ROOT / 'docs'
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob('*.md'))
API = [page for page in PAGES if page.startswith('api/')]


def in_menu(entries):
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else (entry,):
            yield from in_menu(value) if isinstance(value, list) else (value,)


def test_the_menu_has_every_page_once():
    text = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
    assert sorted(in_menu(yaml.safe_load(text)['nav'])) == PAGES


@pytest.mark.parametrize('page', [page for page in PAGES if page not in API])
def test_a_page_opens_with_sentences_and_a_command(page):
    text = (DOCS / page).read_text(encoding='utf-8')
    opening = text.split('\n## ')[0]
    first = blocks(DOCS / page, 'bash')[0]
    assert first.line <= opening.count('\n'), 'the command stands before the first heading'
    sentences = re.findall(r'[.:](?=\s)', re.sub(r'```.*?```', '', opening, flags=re.DOTALL))
    assert len(sentences) >= 4


@pytest.mark.parametrize('page', API)
def test_api_pages_name_what_there_is(page):
    for name in re.findall(r'^::: (\S+)$', (DOCS / page).read_text(), flags=re.MULTILINE):
        module, _, member = name.rpartition('.')
        try:
            importlib.import_module(name)
        except ImportError:
            assert hasattr(importlib.import_module(module), member), name
