"""What users name as input."""

import os

import pytest

from mtpeft.apis.inputs import find_inputs


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


def seen(inputs):
    return [(found.kind, found.name) for found in inputs]


def test_a_folder_is_its_pictures_and_videos_by_name(tmp_path):
    make(tmp_path, 'b.JPG', 'a.png', 'film.mp4', 'notes.txt', '.hidden.png', 'sub/c.jpg')
    assert seen(find_inputs([tmp_path])) == [('picture', 'a'), ('picture', 'b'), ('video', 'film')]
    deep = seen(find_inputs([tmp_path], recursive=True))
    assert deep[-1] == ('picture', 'sub/c') and len(deep) == 4


def test_a_pattern_names_what_differs(tmp_path):
    make(tmp_path, 'x/1.jpg', 'y/1.jpg', 'y/2.txt')
    found = find_inputs([f'{tmp_path}/*/1.*'])
    assert seen(found) == [('picture', 'x/1'), ('picture', 'y/1')]
    assert seen(find_inputs([f'{tmp_path}/**/*.jpg'])) == seen(found)


def test_a_file_whose_name_is_a_pattern_is_the_file(tmp_path):
    make(tmp_path, 'a[1].jpg', 'a1.jpg')
    assert seen(find_inputs([tmp_path / 'a[1].jpg'])) == [('picture', 'a[1]')]


def test_no_two_inputs_share_a_name(tmp_path):
    make(tmp_path, 'x/a.jpg', 'x/a.png', 'y/A.jpg', 'y/film.mp4', 'y/film/0.jpg')
    words = [tmp_path / 'x', tmp_path / 'y/A.jpg', tmp_path / 'y/film.mp4', tmp_path / 'y']
    found = find_inputs(words, recursive=True)
    names = [entry.name.lower() for entry in found]
    assert len(set(names)) == len(names) == 5
    # frames of film.mp4 would lie in the folder film
    films = [entry.name for entry in found if entry.kind == 'video']
    assert not [name for name in names if name.startswith(f'{films[0]}/')]


def test_a_file_that_is_named_twice_is_one_input(tmp_path):
    make(tmp_path, 'a.jpg')
    (tmp_path / 'link').symlink_to(tmp_path)
    assert len(find_inputs([tmp_path / 'a.jpg', tmp_path, tmp_path / 'link/a.jpg'])) == 1


def test_results_are_no_input(tmp_path):
    make(tmp_path, 'a.jpg', 'out/drawings/a.png')
    found = find_inputs([tmp_path], recursive=True, without=tmp_path / 'out')
    assert seen(found) == [('picture', 'a')]


def test_a_circle_of_links_ends(tmp_path):
    make(tmp_path, 'a.jpg')
    os.symlink(tmp_path, tmp_path / 'again')
    assert len(find_inputs([tmp_path], recursive=True)) == 1


def test_a_number_is_a_camera_unless_it_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert seen(find_inputs(['0'])) == [('camera', 'camera_0')]
    make(tmp_path, '0/a.jpg')
    assert seen(find_inputs(['0'])) == [('picture', 'a')]


@pytest.mark.parametrize(
    ('word', 'error', 'words'),
    [
        ('empty', ValueError, r'empty is a folder without pictures or videos.*\.jpg'),
        ('texts', ValueError, r'only 2 other files such as a\.txt.*has 1 folders: --recursive'),
        ('*.tiff', FileNotFoundError, 'no file fits this pattern'),
        ('roms.jpg', FileNotFoundError, "no such file.*Did you mean 'rooms.jpg'"),
        ('no/such/a.jpg', FileNotFoundError, 'no folder .*no/such'),
        ('https://example.org/a.jpg', ValueError, 'is an address'),
    ],
)
def test_what_is_not_there_is_said(tmp_path, monkeypatch, word, error, words):
    make(tmp_path, 'rooms.jpg', 'texts/a.txt', 'texts/b.txt', 'texts/deep/a.jpg')
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        find_inputs([word])
