"""Pictures of a report: truth and prediction below one another's slider."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from mtpeft.evaluation.describe import describe
from mtpeft.report.html import Html, image_source, join, tag
from mtpeft.report.run_files import RunFiles
from mtpeft.report.scores import Scored, predict, score, spread
from mtpeft.structures import MultiTaskDataSample
from mtpeft.tasks import DenseTask
from mtpeft.visualization.comparison import TRUTH, common_range
from mtpeft.visualization.fitted import fitted, photograph_at
from mtpeft.visualization.formats import pixels
from mtpeft.visualization.html_key import html_key
from mtpeft.visualization.panels import panel_size
from mtpeft.visualization.visualizer import array_of, photograph

_HEIGHT, _QUALITY = 240, 86
_WORST = 3
_ASK = """\
This report was written without running the model. With --pictures N it shows N validation
pictures, with a slider between truth and prediction, and the worst pictures of each task:"""


@dataclass(frozen=True)
class Shown:
    """Which pictures are drawn.

    Attributes:
        model: In eval mode.
        dataset: The validation pictures.
        number: How many are shown.
        tasks: Those of the model, in the order in which they are shown.
        among: How many are judged at most to find the worst.
        draw_input: Show the photographs too; ``False`` for data that must not be passed on.
    """

    model: nn.Module
    dataset: Any
    number: int
    tasks: Mapping[str, DenseTask]
    among: int = 400
    draw_input: bool = True


def pictures(shown: Shown) -> Html:
    """Validation pictures, spread evenly over the set."""
    cards = [_card(shown, index) for index in spread(len(shown.dataset), shown.number)]
    about = f'{len(cards)} of {len(shown.dataset)} validation pictures. Drag the handle of a map.'
    return join(tag('p', about, class_='note'), cards)


def worst(shown: Shown) -> Html:
    """The worst pictures of each task by its headline metric."""
    length = len(shown.dataset)
    scored = score(shown.model, shown.dataset, spread(length, min(length, shown.among)))
    among = len(scored.indices)
    about = f'Judged one by one: {among} of {length} validation pictures.'
    parts = [_worst_of(shown, scored, task) for name, task in shown.tasks.items()
             if name in scored.details]  # fmt: skip
    return join(tag('p', about, class_='note'), parts)


def without_model(run: RunFiles, draw_input: bool) -> Html:
    """The last drawing of an evaluation, and how to see more."""
    ask = join(tag('p', _ASK.replace('\n', ' '), class_='note'),
               tag('pre', f'mtpeft report {run.shown_path} --pictures 6'))  # fmt: skip
    if run.drawing is None or not draw_input:
        return ask
    picture = Image.open(run.drawing).convert('RGB')
    picture.thumbnail((1600, 2400))
    buffer = io.BytesIO()
    picture.save(buffer, 'JPEG', quality=80)
    words = f'The last evaluation drew {run.drawing.name}.'
    shown = tag('img', src=image_source(buffer.getvalue()), alt=words)
    return join(ask, tag('figure', shown, tag('figcaption', words), class_='drawing'))


def _worst_of(shown: Shown, scored: Scored, task: DenseTask) -> Html:
    found = scored.worst(task, _WORST)
    if not found:
        return tag('p', f'{task.name}: no picture has a label.', class_='note')
    cells, unit = [], describe(task, task.headline).unit or ''
    for index, value in found:
        item = shown.dataset[index]
        (sample,) = predict(shown.model, [item])
        words = f'picture {index}: {value:.3g} {unit}'.strip()
        cells.append(_cell(shown, task, item, sample, words))
    title = f'{task.name.replace("_", " ")}, by {task.headline}'
    return join(tag('h4', title), tag('div', cells, class_='maps'))


def _card(shown: Shown, index: int) -> Html:
    item = shown.dataset[index]
    (sample,) = predict(shown.model, [item])
    cells = [
        _cell(shown, task, item, sample, name.replace('_', ' '))
        for name, task in shown.tasks.items() if name in sample.pred
    ]  # fmt: skip
    photo = _photo(shown, item) if shown.draw_input else None
    title = f'Picture {index}' + (f': {sample.get("img_id")}' if sample.get('img_id') else '')
    return join(tag('h4', title), tag('div', photo, cells, class_='maps'))


def _photo(shown: Shown, item: Mapping) -> Html:
    rgb = photograph(item['inputs'])
    shown_as = photograph_at(rgb, panel_size(rgb.shape, _HEIGHT))
    return tag('figure', tag('img', src=_source(shown_as), alt='input'),
               tag('figcaption', 'input'), class_='map')  # fmt: skip


def _cell(
    shown: Shown, task: DenseTask, item: Mapping, sample: MultiTaskDataSample, title: str
) -> Html:  # fmt: skip
    rgb = photograph(item['inputs'])
    size = panel_size(rgb.shape, _HEIGHT)
    photo = rgb if shown.draw_input else None
    name = task.name
    rows = {'prediction': {name: array_of(sample.pred[name])}}
    if name in sample.gt:
        rows[TRUTH] = {name: array_of(sample.gt[name])}
    ends = common_range(task, name, rows)
    layers = [
        tag('img', src=_source(fitted(task, maps[name], size, ends, label != TRUTH, photo)),
            alt=f'{name}: {label}', class_=label)
        for label, maps in sorted(rows.items(), reverse=True)
    ]  # fmt: skip
    if len(layers) > 1:  # the truth below, the prediction to the right of the handle
        layers += [
            tag('span', class_='handle'),
            tag('input', type='range', min=0, max=100, value=50, step='any',
                aria_label=f'{name}: truth to the left, prediction to the right'),
            tag('span', 'truth', class_='left'), tag('span', 'prediction', class_='right'),
        ]  # fmt: skip
    key = Html(html_key(task, np.concatenate([r[name].ravel() for r in rows.values()])[None]
                        if task.kind == 'classes' else rows['prediction'][name], ends))  # fmt: skip
    return tag('figure', tag('div', layers, class_='slider'), tag('figcaption', title), key,
               class_='map')  # fmt: skip


def _source(rgb: np.ndarray) -> str:
    return image_source(pixels(rgb, '.jpg', _QUALITY))
