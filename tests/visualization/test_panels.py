"""Maps with their keys: the colours in the key are the colours in the map."""

import numpy as np
import pytest

from mtpeft.tasks import build_tasks
from mtpeft.visualization.colorize import colorize
from mtpeft.visualization.html_key import html_key
from mtpeft.visualization.key import draw_key, present_classes
from mtpeft.visualization.marks import Picture
from mtpeft.visualization.panels import draw_panels, panel_size
from mtpeft.visualization.sheet import Sheet

TASKS = build_tasks(dict(
    semseg=dict(num_classes=21), sal=dict(), edge=dict(), normals=dict(), depth=dict(),
    albedo=dict(type='depth', channels=3),
))  # fmt: skip


def maps(size, seed=0):
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(*size, 3))
    return dict(
        semseg=rng.integers(0, 21, size), sal=rng.random(size), edge=rng.random(size),
        normals=normals / np.linalg.norm(normals, axis=-1, keepdims=True),
        depth=1 + rng.random(size), albedo=1 + rng.random((*size, 3)),
    )  # fmt: skip


def colours(rgb):
    return {tuple(map(int, pixel)) for pixel in rgb.reshape(-1, 3)}


def key(task, array, height, value_range=None):
    sheet = Sheet(143, height)
    draw_key(sheet, (0, 0, 143, height), task, array, value_range)
    return sheet.array()


def test_classes_that_are_seen_are_in_the_key():
    array = np.zeros((10, 10), int)
    array[:, 2:5], array[0, 9] = 15, 3
    task = TASKS['semseg']
    assert present_classes(task, array) == [0, 15, 3]
    found = colours(key(task, array, 200))
    for number in range(21):
        assert (tuple(task.palette[number]) in found) == (number in (0, 3, 15))


def test_where_there_is_no_room_the_largest_classes_are_named():
    array = np.repeat(np.arange(21), np.arange(1, 22))[None]
    found = colours(key(TASKS['semseg'], array, 100))
    palette = list(map(tuple, TASKS['semseg'].palette))
    assert palette[20] in found and palette[1] not in found


def test_a_bar_has_the_colours_of_its_values():
    array = np.linspace(2, 5, 300)[None]
    shown, bar = colorize(TASKS['depth'], array), key(TASKS['depth'], array, 300)
    shared = colours(shown) & colours(bar)
    assert len(shared) > 0.9 * len(colours(shown))
    # the far end is at the top, with the number of it beside it
    top = next(row for row in bar if tuple(shown[0, -1]) in colours(row[None]))
    assert tuple(shown[0, 0]) not in colours(top[None])


def test_the_half_sphere_shows_directions_as_the_map_does():
    disc = key(TASKS['normals'], maps((4, 4))['normals'], 200)
    for direction in ((0, 0, -1), (0.7, 0, -0.714), (0, -0.7, -0.714)):
        wanted = colorize(TASKS['normals'], np.array([[direction]], float))[0, 0].astype(int)
        nearest = np.abs(disc.reshape(-1, 3).astype(int) - wanted).max(1).min()
        assert nearest <= 4


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (400, 1), (33, 40), (900, 1200)])
def test_any_size_is_drawn_within_bounds(size):
    sheet = draw_panels(TASKS, np.zeros((*size, 3), np.uint8), maps(size), height=120)
    drawn = sheet.array()
    # seven cells, none wider than four times its height and its key
    assert drawn.shape[0] * drawn.shape[1] < 7 * 2 * (120 + 22) * (4 * 120 + 160)
    photo = next(mark for mark in sheet.marks if isinstance(mark, Picture))
    _, _, width, height = photo.box  # in its proportions, but for the shortest side
    assert width == pytest.approx(max(height * size[1] / size[0], 1), abs=1)


def test_one_value_is_one_number():
    key(TASKS['depth'], np.full((5, 5), 3.0), 200)
    assert panel_size((1, 10_000), 100) == (100, 400)


@pytest.mark.parametrize('name', TASKS)
def test_the_page_has_the_same_key(name):
    array = maps((20, 30))[name]
    html = html_key(TASKS[name], array, (1.0, 2.0))
    if name == 'semseg':
        assert html.count('swatch') == len(present_classes(TASKS[name], array))
        for number in present_classes(TASKS[name], array):
            assert 'rgb({}, {}, {})'.format(*TASKS[name].palette[number]) in html
    if name == 'depth':
        ends = colorize(TASKS[name], np.array([[1.0, 2.0]]), (1.0, 2.0))[0]
        assert all('rgb({}, {}, {})'.format(*map(int, end)) in html for end in ends)
    assert html.count('<div') == html.count('</div>')


def test_names_of_classes_are_text_in_a_page():
    task = build_tasks(dict(s=dict(type='semseg', num_classes=2, classes=('<b>', 'a'))))['s']
    assert '<b>' not in html_key(task, np.zeros((2, 2), int))
