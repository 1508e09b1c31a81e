"""Files in, files out: what is written, what is not, and what is said about it."""

import errno
import io
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from models.tiny_models import tiny_model
from PIL import Image

from mtpeft.apis import MultiTaskInferencer
from mtpeft.apis.inputs import find_inputs
from mtpeft.apis.predict import run as run_module
from mtpeft.apis.predict.film import Film
from mtpeft.apis.predict.folder import OutFolder
from mtpeft.apis.predict.results import Wanted
from mtpeft.apis.predict.run import PredictRun
from mtpeft.utils.signals import Terminated


@pytest.fixture(scope='module')
def predict():
    return MultiTaskInferencer(tiny_model().eval())


def picture(height, width, seed=0):
    return np.random.default_rng(seed + 9).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photos(root, **sizes):
    root.mkdir(exist_ok=True)
    for seed, (name, size) in enumerate(sizes.items()):
        cv2.imwrite(str(root / f'{name}.png'), picture(*size, seed))
    return root


def video(path, frames=5, size=(24, 32), fps=12, codec='mp4v'):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*codec), fps, (size[1], size[0])
    )  # fmt: skip
    for seed in range(frames):
        writer.write(picture(*size, seed))
    writer.release()
    return path


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    read = []
    while True:
        there, frame = capture.read()
        if not there:
            return read, capture.get(cv2.CAP_PROP_FPS)
        read.append(frame)


def start(predict, out, inputs, force=False, save='both', form='png', drawings='together', **rest):
    tasks = {name: predict.model.tasks[name] for name in predict.tasks}
    job = PredictRun(
        predict, OutFolder(out, force), Wanted(tasks, save, form, drawings, 60),
        stream=io.StringIO(), **rest,
    )  # fmt: skip
    return job, job.run(find_inputs(inputs))


def files_in(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*')
            if p.is_file()}  # fmt: skip


def test_every_picture_has_its_maps_and_a_drawing(predict, tmp_path):
    root, out = photos(tmp_path / 'in', a=(20, 30), b=(1, 1), c=(33, 20)), tmp_path / 'out'
    _, report = start(predict, out, [root])
    assert report.pictures == 3 and not report.failed and not report.stopped
    index = json.loads((out / 'maps.json').read_text())
    listed = {'maps.json', *(f'drawings/{n}.png' for n in 'abc')}
    for entry in index['pictures']:
        image = cv2.imread(entry['input'])
        assert (entry['height'], entry['width']) == image.shape[:2]
        answer = predict(image)
        for task, file in entry['maps'].items():
            listed.add(file)
            stored = np.asarray(Image.open(out / file))
            if task in ('semseg', 'human_parts'):
                np.testing.assert_array_equal(stored, answer[task])
            else:
                said = index['tasks'][task] | entry.get('reading', {}).get(task, {})
                found = said['offset'] + said['scale'] * stored
                np.testing.assert_allclose(found, answer[task], atol=0.51 * said['scale'])
    assert files_in(out).keys() == listed and report.files == len(listed)


def test_batches_change_nothing(predict, tmp_path):
    root = photos(tmp_path / 'in', a=(24, 32), b=(24, 32), c=(16, 16), d=(24, 30), e=(9, 9))
    one, many = tmp_path / 'one', tmp_path / 'many'
    start(predict, one, [root], save='maps', form='npy')
    start(predict, many, [root], save='maps', form='npy', batch_size=3)
    for name in files_in(one):
        if name.endswith('.npy'):
            expected, found = np.load(one / name), np.load(many / name)
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)


@pytest.mark.parametrize('drawings', ['together', 'apart'])
def test_a_video_comes_out_as_a_video(predict, tmp_path, drawings):
    film, out = video(tmp_path / 'film.mp4'), tmp_path / 'out'
    some = MultiTaskInferencer(predict.model, ['depth', 'sal'])
    _, report = start(some, out, [film], drawings=drawings, batch_size=2)
    assert report.frames == 5 and report.videos == 1 and not report.failed
    (entry,) = json.loads((out / 'maps.json').read_text())['videos']
    assert entry['fps'] == 12 and entry['frames'] == 5
    assert len(entry['drawings']) == {'together': 1, 'apart': 2}[drawings]
    for name in entry['drawings']:
        read, fps = frames_of(out / name)
        assert len(read) == 5 and fps == 12
    read, _ = frames_of(film)
    for number, frame in enumerate(read):
        stored = np.asarray(Image.open(out / entry['maps']['sal'].format(number)))
        np.testing.assert_allclose(stored / 255, some(frame)['sal'], atol=0.51 / 255)


def test_colours_of_a_video_stay(predict, tmp_path):
    """The range of a bar only grows, or every frame would have colours of its own."""
    wanted, ranges = Wanted({'depth': predict.model.tasks['depth']}), {}
    wanted.widened(ranges, [dict(depth=np.array([[1.0, 3.0]]))])
    wanted.widened(ranges, [dict(depth=np.array([[2.0, 2.5]])), dict(depth=np.array([[0.5, 1]]))])
    assert ranges == dict(depth=(0.5, 3.0))


def test_only_so_many_frames(predict, tmp_path):
    _, report = start(predict, tmp_path / 'out', [video(tmp_path / 'a.mp4')], frames=2)
    assert report.frames == 2 and not report.failed


def test_what_is_wrong_is_named_and_the_rest_goes_on(predict, tmp_path):
    root = photos(tmp_path / 'in', a=(20, 30), c=(20, 30))
    (root / 'b.jpg').write_bytes(b'no picture')
    (root / 'no.mp4').write_bytes(b'no video')
    cut = video(root / 'cut.avi', 60, codec='MJPG')
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    _, report = start(predict, tmp_path / 'out', [root], save='maps')
    assert report.pictures == 2 and 0 < report.frames < 60
    failed = {source.rsplit('/')[-1]: words for source, words in report.failed}
    assert failed.keys() == {'b.jpg', 'no.mp4', 'cut.avi'}
    assert 'truncated' in failed['b.jpg'] and 'decoded' in failed['no.mp4']
    assert f'ends early, {report.frames} of its 60 frames' in failed['cut.avi']
    index = json.loads((tmp_path / 'out/maps.json').read_text())
    assert [entry['error'] for entry in index['failed']] == [words for _, words in report.failed]
    assert index['videos'][0]['frames'] == report.frames


def test_nothing_is_written_over(predict, tmp_path):
    root, out = photos(tmp_path / 'in', a=(20, 30)), tmp_path / 'out'
    start(predict, out, [root])
    before = files_in(out)
    cv2.imwrite(str(root / 'a.png'), picture(20, 30, 9))
    with pytest.raises(FileExistsError, match='maps/semseg/a.png.*--force'):
        start(predict, out, [root])
    assert files_in(out) == before
    start(predict, out, [root], force=True)
    after = files_in(out)
    assert after.keys() == before.keys()
    assert after['maps/depth/a.png'] != before['maps/depth/a.png']


def test_a_folder_grows_by_pictures_of_the_same_model_only(predict, tmp_path):
    out = tmp_path / 'out'
    start(predict, out, [photos(tmp_path / 'x', a=(20, 30))])
    start(predict, out, [photos(tmp_path / 'y', b=(20, 30))])
    index = json.loads((out / 'maps.json').read_text())
    assert [entry['name'] for entry in index['pictures']] == ['a', 'b']
    with pytest.raises(FileExistsError, match='differ in: model'):
        start(predict, out, [photos(tmp_path / 'z', c=(20, 30))], said=dict(model='other'))


@pytest.mark.parametrize(('stop', 'status'), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_stop_leaves_whole_files_and_their_index(predict, tmp_path, monkeypatch, stop, status):
    root, out = photos(tmp_path / 'in', a=(20, 30), b=(20, 30), c=(20, 30)), tmp_path / 'out'
    whole = tmp_path / 'whole'
    start(predict, whole, [root])
    answers, calls = PredictRun.answers, []

    def stopped(*args):
        calls.append(1)
        if len(calls) == 3:
            raise stop
        return answers(*args)

    monkeypatch.setattr(PredictRun, 'answers', stopped)
    _, report = start(predict, out, [root])
    assert report.status == status and report.pictures == 2
    index = json.loads((out / 'maps.json').read_text())
    assert [entry['name'] for entry in index['pictures']] == ['a', 'b']
    expected = files_in(whole)
    found = files_in(out)
    assert found.keys() - {'maps.json'} == {
        name for name in expected if name != 'maps.json' and '/c.' not in name
    }
    assert all(found[name] == expected[name] for name in found if name != 'maps.json')


def test_ctrl_c_in_a_video_leaves_a_video(predict, tmp_path, monkeypatch):
    encoded, calls = Wanted.encoded, []

    def stopped(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encoded(*args)

    monkeypatch.setattr(Wanted, 'encoded', stopped)
    out = tmp_path / 'out'
    _, report = start(predict, out, [video(tmp_path / 'film.mp4')])
    assert report.status == 130 and report.frames == 3
    assert len(frames_of(out / 'drawings/film.mp4')[0]) == 3


def test_a_full_disk_ends_it_in_words(predict, tmp_path, monkeypatch):
    root, out = photos(tmp_path / 'in', a=(20, 30), b=(20, 30)), tmp_path / 'out'
    write = OutFolder.write

    def full(self, name, data):
        if '/b.' in name:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return write(self, name, data)

    monkeypatch.setattr(OutFolder, 'write', full)
    _, report = start(predict, out, [root])
    assert report.pictures == 1 and 'No space left on device' in report.stopped
    assert json.loads((out / 'maps.json').read_text())['pictures'][0]['name'] == 'a'


def test_a_folder_that_cannot_be_written_into(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='nothing can be written into this folder.*--out'):
        OutFolder(tmp_path / 'file')


def test_large_pictures_are_predicted_in_windows(predict, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, 'WHOLE', 40 * 50)
    monkeypatch.setattr(run_module, '_BATCH_AREA', 2 * 40 * 50)
    seen = predict.model.backbone.seen
    root = photos(tmp_path / 'in', small=(40, 50), large=(120, 160))
    seen.clear()
    start(predict, tmp_path / 'out', [root], window=(64, 64), batch_size=4)
    largest = max(height * width for *_, height, width in seen)
    assert largest <= 64 * 64
    job, _ = start(predict, tmp_path / 'whole', [root], window=None)
    assert max(height * width for *_, height, width in seen) == 120 * 160


def test_a_model_with_windows_keeps_its_own(tmp_path):
    slide = dict(mode='slide', crop_size=(32, 32))
    predict = MultiTaskInferencer(tiny_model(test_cfg=slide).eval())
    job, _ = start(predict, tmp_path / 'out', [photos(tmp_path / 'in', a=(50, 50))])
    assert job.windowed is predict


def test_memory_that_runs_out_is_said(predict, tmp_path, monkeypatch):
    def out_of_memory(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(MultiTaskInferencer, '__call__', out_of_memory)
    _, report = start(predict, tmp_path / 'out', [photos(tmp_path / 'in', a=(20, 30))])
    assert '--batch-size 1, or smaller windows' in report.failed[0][1]
    assert not (tmp_path / 'out/maps.json').exists()


class Camera:
    """A camera of four frames."""

    def __init__(self, number):
        self.number, self.left = number, 4

    def isOpened(self):
        return self.number == 7

    def get(self, what):
        return 0.0

    def read(self):
        self.left -= 1
        return self.left >= 0, picture(24, 32, self.left)

    def release(self):
        pass


def test_a_camera(predict, tmp_path, monkeypatch):
    job, report = start(predict, tmp_path / 'none', ['6'])
    assert 'camera 6 cannot be opened' in report.failed[0][1]
    monkeypatch.setattr(cv2, 'VideoCapture', Camera)
    _, report = start(predict, tmp_path / 'out', ['7'], frames=3, save='maps')
    assert report.frames == 3 and not report.failed
    _, report = start(predict, tmp_path / 'on', ['7'], save='maps')
    assert report.frames == 4 and 'gave no more after 4 frames' in report.failed[0][1]


def test_wanted_is_told_apart():
    wanted = Wanted(dict(sal=tiny_model().tasks['sal']))
    assert wanted.maps and wanted.drawn
    assert not replace(wanted, save='maps').drawing_names('a')
    assert not replace(wanted, save='drawings').map_names('a')


def test_a_film_that_lost_frames_is_not_kept(tmp_path):
    """OpenCV says nothing of a full disk."""
    film = Film(tmp_path / 'film.mp4', 10)
    for level in range(4):
        film.add(np.full((24, 32, 3), 60 * level, np.uint8))
    film.frames += 2
    with pytest.raises(OSError, match='film.mp4: 4 of 6 frames could be written'):
        film.close()
    assert not list(tmp_path.iterdir())


def test_large_pictures_and_frames_are_made_smaller_on_request(predict, tmp_path):
    root = photos(tmp_path / 'in', small=(20, 30), large=(80, 160))
    video(root / 'film.mp4', 2, (48, 96))
    start(predict, tmp_path / 'out', [root], longest=40)
    index = json.loads((tmp_path / 'out/maps.json').read_text())
    assert index['longest'] == 40
    sizes = {entry['name']: (entry['height'], entry['width'])
             for entry in index['pictures'] + index['videos']}  # fmt: skip
    assert sizes == dict(small=(20, 30), large=(20, 40), film=(20, 40))
    stored = Image.open(tmp_path / 'out/maps/depth/large.png')
    assert stored.size == (40, 20)
