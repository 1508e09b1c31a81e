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


def test_a_tensor_is_rgb_as_torchvision_reads_it(predict):
    rgb = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    np.testing.assert_array_equal(predict(tensor)['depth'], predict(Image.fromarray(rgb))['depth'])


def test_probabilities_of_classes_on_request(predict):
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    plain, asked = predict(picture), predict(picture, probabilities=True)
    assert set(asked) - set(plain) == {'semseg_probabilities'}
    chances = asked['semseg_probabilities']
    assert chances.shape[:2] == (40, 50) and chances.dtype == np.float32
    np.testing.assert_allclose(chances.sum(2), 1, atol=1e-5)
    np.testing.assert_array_equal(chances.argmax(2), plain['semseg'])


def test_windows_and_flips_are_those_of_the_model():
    torch.manual_seed(0)
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    slide, tta = dict(mode='slide', crop_size=(32, 32)), dict(flip=True)
    of_config = MultiTaskInferencer(tiny_model(test_cfg=slide, tta=tta).eval())
    given = MultiTaskInferencer(tiny_model().eval(), test_cfg=slide, tta=tta)
    partly = MultiTaskInferencer(tiny_model(test_cfg=slide).eval(), tta=tta)
    plain = MultiTaskInferencer(of_config.model, test_cfg=dict(mode='whole'), tta=dict(flip=False))
    expected = of_config(picture)['depth']
    np.testing.assert_array_equal(given(picture)['depth'], expected)
    np.testing.assert_array_equal(partly(picture)['depth'], expected)
    whole = MultiTaskInferencer(tiny_model().eval())(picture)['depth']
    np.testing.assert_array_equal(plain(picture)['depth'], whole)
    assert not np.allclose(whole, expected)


def test_a_segmentor_of_mmsegmentation_is_told_apart():
    with pytest.raises(TypeError, match='MultiTaskModel, got Linear'):
        MultiTaskInferencer(torch.nn.Linear(1, 1))


def test_no_pictures_are_no_answers(predict):
    assert predict([]) == []


@pytest.mark.parametrize(
    ('picture', 'match'),
    [
        (None, 'got NoneType'),
        (torch.zeros(3, 8, 8), r'tensor \(3, 8, 8\) of torch.float32.*255'),
        (torch.zeros(8, 8, 3).byte(), r'tensor \(8, 8, 3\) of torch.uint8.*picture.numpy'),
        (torch.zeros(2, 3, 8, 8).byte(), r'tensor \(2, 3, 8, 8\).*list\(batch\)'),
        (np.zeros((2, 4, 5, 3), np.uint8), r'list\(pictures\)'),
        (b'bytes', 'got bytes.*Image.open'),
        ((p for p in ()), r'got generator.*list\(pictures\)'),
        ({}, 'got dict'),
        (np.zeros((0, 5, 3), np.uint8), 'is empty: 0 x 5'),
        (np.zeros((0, 0, 3), np.uint8), 'is empty: 0 x 0'),
        (np.zeros((4, 5), np.uint8), r'array \(4, 5\) of uint8.*dstack'),
        (np.zeros((4, 5, 4), np.uint8), r'array \(4, 5, 4\) of uint8.*fourth'),
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
    expected = dict(folder=(ValueError, 'a.png is a folder without pictures'))
    error, words = expected.get(kind, (DataFileError, 'a.png'))
    with pytest.raises(error, match=words):
        predict(path)


def test_memory_is_flat_and_predictions_stay_the_same():
    seen = soak(predictions=200, sizes=12)
    assert seen[-1] - seen[0] < 0.1 * seen[0]


def test_a_model_without_lanes_takes_the_same(tmp_path):
    answer = MultiTaskInferencer(tiny_model().eval())(np.zeros((1, 1, 3), np.uint8))
    assert all(value.shape[:2] == (1, 1) for value in answer.values())
