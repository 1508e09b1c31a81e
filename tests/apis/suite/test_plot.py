"""What a reader of the plot can rely on: names apart, bars of one deviation, the true front."""

import itertools
import math
import random

import pytest
from matplotlib.text import Text

from mtpeft.apis.suite.pareto import pareto_front
from mtpeft.apis.suite.plot import draw_delta, family_styles, plot_delta
from mtpeft.apis.suite.summary import Row, Stat


@pytest.fixture(scope='module')
def rows():
    near = [Row(f'method-{i}', 'method', f'family{i % 2}', parameters=dict(trainable=10**6 + i),
                delta_m=Stat(i / 10, 0.1 if i else math.nan, 2)) for i in range(5)]  # fmt: skip
    return [
        *near, Row('far', 'method', 'third', delta_m=Stat(1.0, 0.2, 3), parameters=dict(
            trainable=3 * 10**6)),
        Row('single_task', 'single_task', delta_m=Stat(0, math.nan, 1),
            parameters=dict(trainable=9 * 10**7)), Row('failed', 'method', 'third'),
    ]  # fmt: skip


@pytest.fixture(scope='module')
def axes(rows):
    return draw_delta(rows, 'title').axes[0]


def test_names_stay_on_the_page_and_apart(rows, axes):
    names = [text for text in axes.texts if text.get_text()]
    assert [text.get_text() for text in names] == [row.label for row in rows[:-1]]
    boxes = [Text.get_window_extent(text) for text in names]
    page = axes.get_window_extent()
    for box in boxes:
        assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1
        assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_bars_are_one_deviation_to_both_sides(rows, axes):
    bars = [bar[2][0].get_segments()[0] for bar in axes.containers if bar.has_yerr]
    drawn = {round(float(y1 - y0), 6) for (_, y0), (_, y1) in bars}
    assert drawn == {0.2, 0.4} and len(bars) == 5


def test_families_have_colours_of_their_own(rows):
    methods = [Row(f'm{i}', 'method', f'family{i}') for i in range(60)]
    styles = family_styles([*methods, rows[-2]])
    assert len({(style['color'], style['marker']) for style in styles.values()}) == 60
    assert len({row.family for row in rows[:5]}) == 2 == len(family_styles(rows[:5]))


@pytest.mark.parametrize('seed', range(20))
def test_the_front_is_what_nobody_beats(seed):
    draw = random.Random(seed)
    points = [(draw.randint(0, 6), draw.randint(0, 6)) for _ in range(draw.randint(1, 15))]
    beaten = {
        p for p in points
        if any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)
    }  # fmt: skip
    assert pareto_front(points) == sorted(set(points) - beaten)


def test_the_files_are_the_same_each_time_and_keep_their_names(rows):
    files, again = plot_delta(rows[3:7], 'title'), plot_delta(rows[3:7], 'title')
    assert files == again
    assert files['png'].startswith(b'\x89PNG') and files['pdf'].startswith(b'%PDF')
    # text is drawn as paths, with what it says beside it
    assert b'<!-- method-3 -->' in files['svg'] and b'<!-- Pareto front -->' in files['svg']
