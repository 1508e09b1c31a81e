"""Which of two builds of OpenCV lies in ``cv2``, and what is said where it cannot be imported."""

import warnings
from importlib.metadata import PathDistribution

import pytest

from mtpeft.utils import opencv

GUI, HEADLESS = 'opencv-python', 'opencv-python-headless'


def install(site, name, size, version='5.0'):
    """What pip leaves of a build, whose compiled module overwrites that of another."""
    folder = site / f'{name.replace("-", "_")}-{version}.dist-info'
    folder.mkdir(parents=True)
    (folder / 'METADATA').write_text(f'Name: {name}\nVersion: {version}\n')
    (folder / 'RECORD').write_text(f'cv2/__init__.py,,0\ncv2/cv2.abi3.so,sha256=x,{size}\n')
    (site / 'cv2').mkdir(exist_ok=True)
    (site / 'cv2/cv2.abi3.so').write_bytes(b'0' * size)
    return PathDistribution(folder)


@pytest.fixture
def environment(monkeypatch):
    def hold(*found, libraries=()):
        monkeypatch.setattr(opencv, '_installed', lambda: list(found))
        monkeypatch.setattr(opencv, '_loads', lambda library: library in libraries)
        monkeypatch.setattr(opencv.sys, 'platform', 'linux')

    return hold


def said():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        opencv.check_opencv()
    return [str(w.message) for w in caught]


@pytest.mark.parametrize('last', [GUI, HEADLESS])
def test_the_one_that_was_installed_last_is_imported(tmp_path, last):
    first = ({GUI, HEADLESS} - {last}).pop()
    builds = [install(tmp_path, first, 10), install(tmp_path, last, 12)]
    assert opencv.imported_build(builds).name == last


def test_without_libraries_of_windows_the_commands_are_named(tmp_path, environment):
    environment(install(tmp_path, GUI, 10), libraries=['libgthread-2.0.so.0'])
    with pytest.raises(ImportError, match=r'no libGL\.so\.1') as caught:
        opencv.check_opencv()
    text = str(caught.value)
    assert 'apt-get install -y libgl1\n' in text and 'uninstall -y opencv-python\n' in text
    assert 'pip install --no-deps opencv-python-headless' in text


def test_the_build_without_windows_needs_none(tmp_path, environment):
    gui = install(tmp_path, GUI, 10)
    headless = install(tmp_path, HEADLESS, 12)
    for found in ([headless], [gui, headless]):
        environment(*found)
        assert said() == []


def test_one_with_its_libraries_is_silent(tmp_path, environment):
    found = [install(tmp_path, HEADLESS, 12), install(tmp_path, GUI, 10)]
    for number in (1, 2):
        environment(*found[-number:], libraries=list(opencv._DESKTOP))
        assert said() == []


def test_two_versions_are_named_with_the_command_that_mends_it(tmp_path, environment):
    found = install(tmp_path, GUI, 10, '4.11'), install(tmp_path, HEADLESS, 12, '5.0')
    environment(*found)
    (text,) = said()
    assert 'opencv-python 4.11 and opencv-python-headless 5.0' in text
    assert 'pip uninstall -y opencv-python opencv-python-headless\n' in text


def test_this_environment_can_import_it():
    assert said() == [] or 'two versions' in said()[0]
