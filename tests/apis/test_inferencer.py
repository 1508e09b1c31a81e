"""The inferencer as MMEngine's: steps, batches, streams, folders, videos."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from mmengine.infer import BaseInferencer
from models.tiny_models import tiny_model

from mtpeft.apis import MultiTaskInferencer
from mtpeft.structures import MultiTaskDataSample

SIZES = [(24, 32), (24, 32), (40, 17), (23, 31), (24, 32), (8, 90)]


@pytest.fixture(scope='module')
def predict():
    return MultiTaskInferencer(tiny_model().eval(), ['semseg', 'depth', 'normals'])


@pytest.fixture(scope='module')
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other)
        for name in one:
            np.testing.assert_allclose(one[name], other[name], atol=1e-5)


def test_its_steps_are_those_of_the_base_class(predict, pictures):
    assert isinstance(predict, BaseInferencer)
    assert predict.list_models('mtpeft:faar*') == ['mtpeft:faar_efficientnet-lite2_scenes']
    made = []
    for data in predict.preprocess(pictures, batch_size=4):
        made += predict.postprocess(predict.forward(data))
    for answer, expected in zip(made, predict(pictures), strict=True):
        assert set(answer) == set(predict.model.tasks)
        np.testing.assert_allclose(answer['depth'], expected['depth'], atol=1e-5)


@pytest.mark.parametrize('batch_size', [1, 2, 5, 100])
def test_batches_change_nothing(predict, pictures, batch_size):
    same(predict(pictures, batch_size=batch_size), [predict(picture) for picture in pictures])


def test_a_batch_is_as_large_as_said_and_of_one_size(predict, pictures):
    seen = predict.model.backbone.seen
    seen.clear()
    predict(pictures, batch_size=3)
    # 24 x 32 and 23 x 31 are padded to one size
    assert seen == [(2, 3, 24, 32), (1, 3, 40, 24), (2, 3, 24, 32), (1, 3, 8, 96)]


def test_a_stream_reads_no_further_than_it_must(predict, pictures):
    taken = []

    def endless():
        for number in range(10**9):
            taken.append(number)
            yield pictures[number % len(pictures)]

    answers = predict.stream(endless(), batch_size=2)
    same([next(answers) for _ in range(3)], predict(pictures[:3]))
    assert len(taken) == 4


def test_a_folder_and_a_pattern_are_their_pictures(predict, pictures, tmp_path):
    for number, picture in enumerate(pictures[:3]):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture)
    (tmp_path / 'notes.txt').write_text('')
    expected = predict(pictures[:3])
    same(predict(tmp_path), expected)
    same(predict(f'{tmp_path}/[02].png'), expected[::2])
    same(list(predict.stream(str(tmp_path))), expected)


def test_frames_of_a_video_come_one_by_one(predict, tmp_path):
    path = tmp_path / 'film.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (32, 24))
    for level in (0, 100, 200):
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    with pytest.raises(ValueError, match=r'film.avi is a video.*predict.stream\('):
        predict(path)
    capture, frames = cv2.VideoCapture(str(path)), []
    for _ in range(3):
        frames.append(capture.read()[1])
    same(list(predict.stream(path, batch_size=2)), predict(frames))
    (tmp_path / 'no.mp4').write_bytes(b'no')
    with pytest.raises(ValueError, match='no.mp4: is no video that can be decoded'):
        list(predict.stream(tmp_path / 'no.mp4'))


def test_samples_and_drawings_on_request(predict, pictures):
    samples = predict(pictures, return_datasamples=True)
    assert all(isinstance(sample, MultiTaskDataSample) for sample in samples)
    assert samples[2].get_pred('depth').shape == (1, 40, 17)
    answer = predict(pictures[0], drawings=True, tasks=['depth'])
    assert list(answer) == ['depth', 'drawing']
    assert answer['drawing'].dtype == np.uint8 and answer['drawing'].shape[2] == 3


def test_a_stream_says_at_once_what_is_wrong(predict, pictures):
    with pytest.raises(KeyError, match="no task 'dept'"):
        predict.stream(pictures, tasks=['dept'])
    with pytest.raises(ValueError, match='batch_size to be a positive integer, got 0'):
        predict(pictures, batch_size=0)
    with pytest.raises(FileNotFoundError):
        list(predict.stream('no.jpg'))


def test_threads_share_an_inferencer(predict, pictures):
    expected = predict(pictures)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(predict, pictures * 4))
    same(found, expected * 4)
