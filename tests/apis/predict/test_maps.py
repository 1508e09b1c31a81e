"""Maps read back by Pillow, NumPy and what the description says, and by the project's data sets."""

import io

import numpy as np
import pytest
from PIL import Image

from mtpeft.apis.predict.maps import describe, encode, suffix_of
from mtpeft.datasets.labels import LabelFiles
from mtpeft.tasks import build_tasks

SIZE = (9, 7)
TASKS = build_tasks(dict(
    semseg=dict(num_classes=21), many=dict(type='semseg', num_classes=300), sal=dict(),
    normals=dict(), depth=dict(), shading=dict(type='depth', unit='lx'),
    albedo=dict(type='depth', channels=3, unit=''), flow=dict(type='depth', channels=2, unit='px'),
))  # fmt: skip


def prediction(task, seed=0):
    rng = np.random.default_rng(seed)
    if task.kind == 'classes':
        return rng.integers(0, task.channels, SIZE)
    if task.kind == 'binary':
        return rng.random(SIZE, np.float32)
    if task.kind == 'vectors':
        array = rng.normal(size=(*SIZE, 3)).astype(np.float32)
        return array / np.linalg.norm(array, axis=-1, keepdims=True)
    shape = SIZE if task.channels == 1 else (*SIZE, task.channels)
    return (rng.random(shape, np.float32) * 9 - 2 * (task.unit != 'm')).astype(np.float32)


def read(data, said, reading):
    """As somebody would who has the file and its description only."""
    if said['file'] == 'npy':
        return np.load(io.BytesIO(data), allow_pickle=False)
    picture = Image.open(io.BytesIO(data))
    stored = np.asarray(picture)
    said = said | reading
    return said['offset'] + said['scale'] * stored if 'scale' in said else stored


@pytest.mark.parametrize('form', ['png', 'npy'])
@pytest.mark.parametrize('name', TASKS)
def test_a_map_is_read_by_its_description(name, form):
    task, array = TASKS[name], prediction(TASKS[name])
    encoded, said = encode(task, array, form), describe(task, form)
    assert suffix_of(task, form).removeprefix('.') in said['file']
    if name == 'albedo' and form == 'png':
        pytest.skip('Pillow reads no colours of 16 bits; below OpenCV does')
    found = read(encoded.data, said, encoded.reading)
    assert found.shape == array.shape
    if task.kind == 'classes' or said['file'] == 'npy':
        np.testing.assert_array_equal(found, array)
    else:
        step = (said | encoded.reading)['scale']
        np.testing.assert_allclose(found, array, atol=0.51 * step)


def test_colours_of_16_bits_are_read_by_opencv(tmp_path):
    import cv2

    task, array = TASKS['albedo'], prediction(TASKS['albedo'])
    encoded = encode(task, array, 'png')
    stored = cv2.imdecode(np.frombuffer(encoded.data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
    found = encoded.reading['offset'] + encoded.reading['scale'] * stored
    np.testing.assert_allclose(found, array, atol=encoded.reading['scale'])


def test_classes_have_their_colours_and_names():
    task = TASKS['semseg']
    encoded, said = encode(task, prediction(task), 'png'), describe(task, 'png')
    rgb = np.asarray(Image.open(io.BytesIO(encoded.data)).convert('RGB'))
    np.testing.assert_array_equal(rgb, np.asarray(said['palette'])[prediction(task)])
    assert said['classes'][15] == 'person'


@pytest.mark.parametrize(('low', 'high'), [(0, 65.5), (0, 900), (-3, 4), (2, 2)])
def test_depth_is_in_millimetres_where_they_fit(low, high):
    array = np.linspace(low, high, 63, dtype=np.float32).reshape(SIZE)
    encoded, said = encode(TASKS['depth'], array, 'png'), describe(TASKS['depth'], 'png')
    assert said['unit'] == 'm' and said['scale'] == 0.001
    assert bool(encoded.reading) == (low < 0 or high > 65.535)
    step = (said | encoded.reading)['scale']
    np.testing.assert_allclose(read(encoded.data, said, encoded.reading), array, atol=0.51 * step)


@pytest.mark.parametrize('name', ['semseg', 'normals', 'depth'])
def test_maps_can_be_labels_of_a_folder(name, tmp_path):
    """What one model predicted can teach another: FolderMT reads the files as they are."""
    task, array = TASKS[name], prediction(TASKS[name])
    path = tmp_path / f'a{suffix_of(task, "png")}'
    path.write_bytes(encode(task, array, 'png').data)
    options = dict(scale=0.001) if name == 'depth' else {}
    label = LabelFiles.of(dict(path='{id}.png', **options)).read(path, task)
    np.testing.assert_allclose(label, array, atol=0.01 if name == 'normals' else 0.0006)


def test_numbers_that_are_not_finite_are_no_png():
    array = prediction(TASKS['depth'])
    array[0, :3] = np.nan
    with pytest.raises(ValueError, match="4.8%.*'depth' are not finite.*--maps npy"):
        encode(TASKS['depth'], array, 'png')
    found = read(encode(TASKS['depth'], array, 'npy').data, describe(TASKS['depth'], 'npy'), {})
    np.testing.assert_array_equal(found, array)
