"""Paper with marks: the same drawing as pixels and as vectors."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from mtpeft.visualization.formats import suffix_of
from mtpeft.visualization.sheet import Sheet, stacked, text_width

RED = (214, 39, 40)


@pytest.fixture
def sheet():
    made = Sheet(60, 40, density=2)
    made.fill((10, 5, 20, 10), RED)
    made.picture((40, 20, 10, 10), np.full((3, 3, 3), 77, np.uint8))
    made.text(2, 38, 'de$pth', 10)
    return made


def test_boxes_are_where_they_were_put(sheet):
    drawn = sheet.array()
    assert drawn.shape == (80, 120, 3)
    rows, columns = np.nonzero((drawn == RED).all(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 20, 59)
    assert (drawn[40:60, 80:100] == 77).all() and (drawn[:10] == 255).all()
    assert (drawn[60:, :40] < 128).any()


@pytest.mark.parametrize('suffix', ['.png', '.JPG', '.pdf', '.svg'])
def test_the_name_says_what_file(sheet, tmp_path, suffix):
    path = tmp_path / 'new' / f'drawing{suffix}'
    sheet.save(path)
    data = path.read_bytes()
    if suffix in ('.png', '.JPG'):
        again = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'), int)
        assert np.abs(again - sheet.array()).mean() < (1 if suffix == '.png' else 4)
        return
    sheet.save(path)
    assert path.read_bytes() == data  # no date in it
    if suffix == '.pdf':
        # text is text, in a font that is embedded
        assert data.startswith(b'%PDF') and b'/TrueType' in data + b'' or b'/FontFile2' in data
    else:
        text = data.decode()
        assert '<!-- de$pth -->' in text and 'fill: #d62728' in text
        width = float(re.search(r'width="([\d.]+)pt"', text)[1])
        assert width == pytest.approx(60 * 72 / 96)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match=r"one of \.png.*got '\.pgn'.*Did you mean '\.png'"):
        suffix_of('a.pgn')


def test_long_lines_are_written_smaller():
    sheet = Sheet(40, 20)
    sheet.text(0, 15, 'a rather long line', 12, room=40)
    assert text_width('a rather long line', sheet.marks[0].size) <= 40 or sheet.marks[0].size == 6


def test_sheets_below_each_other():
    parts = [Sheet(10, 20), Sheet(30, 5)]
    parts[1].fill((0, 0, 30, 5), RED)
    drawn = stacked(parts, gap=3).array()
    assert drawn.shape == (28, 30, 3)
    assert ((drawn == RED).all(-1).all(1) == (np.arange(28) >= 23)).all()
