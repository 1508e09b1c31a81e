"""What a service may be given: an answer, or one clear error."""

import numpy as np
import pytest
import torch
from models.tiny_models import tiny_model
from PIL import Image
from reliability.soak import model as service_model
from reliability.soak import soak

from mtpeft.apis import MultiTaskInferencer
from mtpeft.datasets.errors import DataFileError


@pytest.fixture(scope='module')
def predict():
    return MultiTaskInferencer(service_model())


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (2000, 1), (3, 5)])
def test_any_size_is_answered_at_its_size(predict, size):
    answer = predict(np.full((*size, 3), 127, np.uint8))
    assert answer['depth'].shape == answer['semseg'].shape == size
    assert np.isfinite(answer['depth']).all()


def test_a_picture_of_pillow_is_the_array_of_its_pixels(predict):
    rgb = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    expected = predict(np.ascontiguousarray(rgb[..., ::-1]))
    for picture in (Image.fromarray(rgb), Image.fromarray(rgb).convert('RGBA')):
        np.testing.assert_allclose(predict(picture)['depth'], expected['depth'], rtol=1e-5)


def test_no_pictures_are_no_answers(predict):
    assert predict([]) == []


@pytest.mark.parametrize(
    ('picture', 'match'),
    [
        (None, 'got NoneType'),
        (torch.zeros(3, 8, 8), 'got Tensor'),
        (np.zeros((0, 5, 3), np.uint8), 'is empty: 0 x 5'),
        (np.zeros((0, 0, 3), np.uint8), 'is empty: 0 x 0'),
        (np.zeros((4, 5), np.uint8), r'got \(4, 5\)'),
        (np.zeros((4, 5, 4), np.uint8), r'got \(4, 5, 4\)'),
        (np.zeros((4, 5, 3), np.float32), 'of float32'),
        (3, 'got int'),
    ],
)
def test_what_is_no_picture_is_one_error(predict, picture, match):
    with pytest.raises(ValueError, match=match):
        predict(picture)


def bomb(path):
    """A file of kilobytes whose header promises 400 million pixels."""
    Image.new('1', (20_000, 20_000)).save(path)


@pytest.mark.parametrize('kind', ['empty', 'noise', 'cut', 'bomb', 'folder'])
def test_a_file_that_is_no_picture_is_named(tmp_path, kind, predict):
    path = tmp_path / 'a.png'
    if kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'noise':
        path.write_bytes(b'noise' * 100)
    elif kind == 'cut':
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == 'bomb':
        bomb(path)
    else:
        path.mkdir()
    with pytest.raises((DataFileError, FileNotFoundError), match='a.png'):
        predict(path)


def test_memory_is_flat_and_predictions_stay_the_same():
    seen = soak(predictions=200, sizes=12)
    assert seen[-1] - seen[0] < 0.1 * seen[0]


def test_a_model_without_lanes_takes_the_same(tmp_path):
    answer = MultiTaskInferencer(tiny_model().eval())(np.zeros((1, 1, 3), np.uint8))
    assert all(value.shape[:2] == (1, 1) for value in answer.values())
