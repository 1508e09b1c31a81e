"""The page of the demo: what its parts become, and, in a browser, a picture in and maps out."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from models.tiny_models import tiny_model

from mtpeft.apis import MultiTaskInferencer
from mtpeft.apis.demo.answers import shown
from mtpeft.apis.pictures import reduced
from mtpeft.tasks import build_tasks
from mtpeft.visualization.colorize import colorize

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')


def picture(height=48, width=64):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def inferencer(tasks, seed=0):
    return MultiTaskInferencer(tiny_model(tasks, seed=seed).eval())


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    pytest.importorskip('gradio', reason='pip install "mtpeft[demo]"')
    from mtpeft.apis.demo.page import Demo

    path = tmp_path_factory.mktemp('examples') / 'one.png'
    cv2.imwrite(str(path), picture())
    models = dict(
        one=inferencer(['semseg', 'depth', 'normals']),
        two=inferencer(['depth', 'edge'], seed=1),
    )
    made = Demo(models, [path])
    yield made
    made.close()


def test_models_share_the_colours_of_values():
    task = build_tasks(['depth'])['depth']
    near, far = np.linspace(1, 2, 50)[None], np.linspace(1, 4, 50)[None]
    found = shown([task, task], [near, far])
    np.testing.assert_array_equal(found[0].colours, colorize(task, near, (1, 4)))
    np.testing.assert_array_equal(found[1].colours, colorize(task, far, (1, 4)))
    assert shown([], []) == []


def test_a_large_picture_is_made_smaller():
    assert reduced(picture(10, 20), 1280).shape == (10, 20, 3)
    assert max(reduced(np.zeros((3000, 40, 3), np.uint8), 1280).shape) == 1280


def test_each_part_gets_what_its_model_predicts(demo):
    rgb = picture()
    parts = demo.predict(rgb, ['depth', 'semseg'])
    lines, rest = parts[:2], parts[2:]
    assert all('64 x 48 pixels' in line for line in lines)
    # for each task and model: a slider and a key
    places = {
        (task, model): rest[2 * i : 2 * i + 2]
        for i, (task, model) in enumerate(
            (task, model) for task in demo.tasks for model in demo.models
        )
    }
    seen = {place for place, (slider, _) in places.items() if slider['visible']}
    assert seen == {('semseg', 'one'), ('depth', 'one'), ('depth', 'two')}
    before, after = places['semseg', 'one'][0]['value']
    np.testing.assert_array_equal(before, rgb)
    maps = demo.models['one'](rgb[..., ::-1].copy())
    task = demo.models['one'].model.tasks['semseg']
    np.testing.assert_array_equal(after, colorize(task, maps['semseg']))


def test_without_a_picture_nothing_is_shown(demo):
    parts = demo.predict(None, demo.tasks)
    assert len(parts) == 2 + 2 * len(demo.models) * len(demo.tasks)
    assert not any(part.get('visible') for part in parts[2:])


def browser():
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def test_a_picture_goes_in_and_maps_come_out_in_a_browser(demo, tmp_path):
    pytest.importorskip('playwright', reason='pip install playwright, which drives the browser')
    if browser() is None:
        pytest.skip('no Chromium: apt-get install chromium')
    from playwright.sync_api import sync_playwright

    cv2.imwrite(str(tmp_path / 'in.png'), picture()[..., ::-1])
    address = demo.start()
    assert address.startswith('http://127.0.0.1:')
    asked, errors = [], []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser(), args=['--no-sandbox'])
        page = chromium.new_page()
        page.on('request', lambda request: asked.append(request.url))
        page.on('console', lambda m: errors.append(m.text) if m.type == 'error' else None)
        page.goto(address)
        page.wait_for_selector('text=Tasks')
        page.set_input_files('input[type=file]', str(tmp_path / 'in.png'))
        # semseg, depth and normals of one model, depth and edge of the other
        page.wait_for_function("document.querySelectorAll('.map img').length >= 10")
        assert page.locator('.map >> visible=true').count() == 5
        saved = tmp_path / 'map.png'
        source = page.locator('.map img').nth(1).get_attribute('src')
        saved.write_bytes(page.request.get(source).body())
        page.get_by_label('edge').uncheck()
        page.wait_for_function(
            "[...document.querySelectorAll('.map')].filter(m => m.offsetParent).length == 4"
        )
        chromium.close()
    maps = demo.models['one'](picture()[..., ::-1].copy())
    task = demo.models['one'].model.tasks['semseg']
    images = [cv2.imread(str(saved))[..., ::-1]]
    np.testing.assert_array_equal(images[0], colorize(task, maps['semseg']))
    outside = [url for url in asked if not url.startswith((address, 'data:', 'blob:'))]
    assert not outside and not errors


def test_uploads_go_away_with_the_page(tmp_path):
    pytest.importorskip('gradio', reason='pip install "mtpeft[demo]"')
    from mtpeft.apis.demo.page import Demo

    made = Demo(dict(one=inferencer(['depth'])), [])
    folder = Path(made._folder)
    assert folder.is_dir()
    made.close()
    assert not folder.exists()
