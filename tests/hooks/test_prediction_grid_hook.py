"""The pictures of an evaluation, and the last words of a run."""

import cv2
import numpy as np
import pytest
import torch
from helpers.engine import tiny, train, write_base
from mmengine.logging import MMLogger

from mtpeft.apis import build_runner
from mtpeft.hooks import PredictionGridHook
from mtpeft.hooks.summary_hook import parameter_table
from mtpeft.visualization.fitted import fitted, value_extremes

SHORT = dict(train_cfg__max_epochs=2, train_dataloader__dataset__length=2,
             default_hooks__visualization__num_pictures=2,
             default_hooks__visualization__height=32)  # fmt: skip


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('grid')
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    cfg = tiny(write_base(folder / 'base.pth'), visualizer__vis_backends=backends, **SHORT)
    return train(cfg, folder), folder


def place_of(part, drawn):
    """Row and column of a part in a drawing."""
    windows = np.lib.stride_tricks.sliding_window_view(drawn, part.shape)[:, :, 0]
    found = np.argwhere(np.abs(windows.astype(int) - part).max((2, 3, 4)) <= 1)
    assert len(found), 'it is not there'
    return found[0]


def test_the_grid_holds_input_truth_and_prediction(run):
    runner, folder = run
    drawn = cv2.imread(str(folder / 'vis' / 'val_2.png'))[..., ::-1]
    dataset, tasks = runner.val_dataloader.dataset, runner.model.tasks
    for index in (0, 2):  # two pictures of three, first and last
        item = dataset[index]
        photo = np.ascontiguousarray(item['inputs'].numpy().transpose(1, 2, 0)[..., ::-1])
        top, left = place_of(photo, drawn)
        sample = runner.model.test_step(
            dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        )[0]
        for name, task in tasks.items():
            label = item['data_samples'].get_gt(name)
            label = label.numpy().transpose(1, 2, 0)
            ends = value_extremes(task, label[..., 0]) if task.kind == 'values' else None
            shown = fitted(task, label, (32, 32), ends, photo=photo)
            assert place_of(shown, drawn[top : top + 33])[0] == 0  # beside the photograph
            predicted = sample.get_pred(name).detach().numpy().transpose(1, 2, 0)
            shown = fitted(task, predicted, (32, 32), ends, thin=True, photo=photo)
            assert place_of(shown, drawn[top + 32 : top + 72])[0] < 8  # below the label


def test_the_backends_have_it(run):
    folder = run[1]
    local = list(folder.glob('*/vis_data/vis_image/val_predictions_*.png'))
    assert sorted(p.stem[-1] for p in local) == ['1', '2']
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(folder.glob('*/vis_data/events*'))))
    events.Reload()
    assert 'val_predictions' in events.Tags()['images'] and 'loss' in events.Tags()['scalars']


def test_the_same_pictures_every_time_and_in_a_test(run):
    runner, folder = run
    first, second = (cv2.imread(str(folder / 'vis' / f'val_{i}.png')) for i in (1, 2))
    np.testing.assert_array_equal(first[:50], second[:50])
    hook = next(h for h in runner.hooks if isinstance(h, PredictionGridHook))
    assert hook.last_grid == str(folder / 'vis' / 'val_2.png')


def test_no_photograph_reaches_a_grid_without_input(run, tmp_path):
    _, folder = run
    backends = [dict(type='LocalVisBackend')]
    cfg = tiny(folder / 'base.pth', visualizer__vis_backends=backends, log_level='INFO',
               default_hooks__visualization__draw_input=False, **SHORT)  # fmt: skip
    train(cfg, tmp_path)
    drawings = [tmp_path / 'vis' / 'val_2.png', *tmp_path.rglob('val_predictions_2.png')]
    whole = cv2.imread(str(folder / 'vis' / 'val_2.png'))
    assert len(drawings) == 2
    for path in drawings:
        drawn = cv2.imread(str(path))
        assert drawn.shape == whole.shape
        assert (drawn != whole).any()
    last = next(tmp_path.rglob('*.log')).read_text().splitlines()[-1]
    assert 'Ground truth and prediction: ' in last and 'Input' not in last


def test_drawings_of_a_test_without_input(run, tmp_path):
    _, folder = run
    cfg = tiny(folder / 'base.pth', **SHORT)
    names = []
    for draw_input in (True, False):
        out = tmp_path / str(draw_input)
        hook = dict(type='SavePredictionsHook', out_dir=str(out), height=32, draw_input=draw_input,
                    suffix='.jpg')  # fmt: skip
        cfg.custom_hooks = [hook]
        cfg.experiment_name = f'drawings{draw_input}'
        last = str(folder / 'epoch_2.pth')
        build_runner(cfg, work_dir=str(tmp_path / 'work'), checkpoint=last).test()
        drawn = {path.name: cv2.imread(str(path)) for path in out.iterdir()}
        assert len(drawn) == 3 and all(name.endswith('.jpg') for name in drawn)
        names.append(set(drawn))
    assert names[0] == names[1]


def test_first_and_last_words(run, tmp_path, monkeypatch):
    runner, folder = run
    lines = []
    monkeypatch.setattr(MMLogger, 'info', lambda self, text, *a, **k: lines.append(str(text)))
    cfg = tiny(folder / 'base.pth', **SHORT)
    build_runner(cfg, work_dir=str(tmp_path)).train()
    text = '\n'.join(lines)
    assert 'lora_task' in text and 'Final metrics:\ntask' in text
    assert f'prediction: {tmp_path}/vis/val_2.png' in text
    assert f'Last checkpoint: {tmp_path}/epoch_2.pth' in text


def test_the_parameters_add_up():
    model = torch.nn.Sequential(torch.nn.Linear(1000, 2), torch.nn.Linear(2, 2))
    model[1].requires_grad_(False)
    last = parameter_table(model).splitlines()[-2:]
    assert [line.split()[-1] for line in last] == ['2,002', '2,008']


def test_bad_option():
    with pytest.raises(ValueError, match='num_pictures'):
        PredictionGridHook(num_pictures=0)
