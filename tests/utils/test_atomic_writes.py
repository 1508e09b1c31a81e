"""A file is old or new, never in between."""

import errno
import os
import subprocess

import pytest
from mmengine.fileio import get_file_backend

from mtpeft.utils.atomic import ATOMIC, write_atomically, write_or_exit


@pytest.mark.parametrize('fails', ['fsync', 'replace', 'chmod'])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fails):
    file = tmp_path / 'a.pth'
    write_atomically(b'old', file)

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(OSError, match='No space left'):
        write_atomically(b'new', file)
    assert file.read_bytes() == b'old'
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_a_really_full_disk(tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip('mounting a tmpfs is not permitted here')
    try:
        write_atomically(b'old', tmp_path / 'a.pth')
        with pytest.raises(OSError) as error:
            write_atomically(bytes(2**20), tmp_path / 'a.pth')
        assert error.value.errno == errno.ENOSPC
        assert (tmp_path / 'a.pth').read_bytes() == b'old'
        assert [p.name for p in tmp_path.iterdir()] == ['a.pth']
    finally:
        subprocess.run(['umount', str(tmp_path)], check=True)


def test_mode_and_folders(tmp_path):
    file = tmp_path / 'new' / 'a.pth'
    old = os.umask(0o027)
    try:
        write_atomically(b'x', file)
    finally:
        os.umask(old)
    assert file.stat().st_mode & 0o777 == 0o640


def test_as_a_backend_of_mmengine(tmp_path):
    backend = get_file_backend(str(tmp_path), backend_args=dict(backend=ATOMIC))
    backend.put_text('ä', str(tmp_path / 'a'))
    backend.put(b'b', str(tmp_path / 'b'))
    assert backend.get_text(str(tmp_path / 'a')) == 'ä' and backend.get(str(tmp_path / 'b')) == b'b'


@pytest.mark.parametrize('before', [True, False])
def test_a_script_says_what_is_whole_when_a_disk_is_full(tmp_path, monkeypatch, before):
    file = tmp_path / 'a.safetensors'
    if before:
        write_atomically(b'old', file)

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(SystemExit) as error:
        write_or_exit(b'new', file)
    text = str(error.value)
    assert text.startswith(f'{file}: 3 bytes') and 'No space left' in text and 'Make room' in text
    assert ('from before, whole' in text) is before
    assert ('Nothing of it is left' in text) is not before
    assert file.read_bytes() == b'old' if before else not list(tmp_path.iterdir())
