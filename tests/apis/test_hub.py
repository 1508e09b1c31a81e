"""The Hugging Face hub, by a stand-in of its client that keeps repositories in a folder."""

import shutil

import huggingface_hub
import pytest
import torch
from helpers.engine import tiny

import mtpeft
from mtpeft.apis import from_pretrained, init_model
from mtpeft.apis.hub import HubError

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Hub:
    """What of the client is called, with its own signatures; repositories are folders."""

    def __init__(self, root):
        self.root, self.calls = root, []

    def create_repo(self, repo_id, *, token=None, private=None, exist_ok=False):
        self.calls.append(('create_repo', repo_id, private, token))
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id, folder_path, token=None, allow_patterns=None,
                      commit_message=None):  # fmt: skip
        self.calls.append(('upload_folder', repo_id, commit_message))
        for name in allow_patterns:
            shutil.copy(f'{folder_path}/{name}', self.root / repo_id)
        return f'https://hub/{repo_id}'

    def snapshot_download(self, repo_id, *, revision=None, allow_patterns=None):
        self.calls.append(('snapshot_download', repo_id, revision))
        if not (self.root / repo_id).is_dir():
            raise FileNotFoundError(f'404 for {repo_id}')
        return str(self.root / repo_id)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    hub = Hub(tmp_path / 'hub')
    for name in ('create_repo', 'upload_folder', 'snapshot_download'):
        monkeypatch.setattr(huggingface_hub, name, getattr(hub, name))
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    return hub


@pytest.fixture
def model():
    return init_model(tiny())


def same(one, other):
    with torch.no_grad():
        one, other = one(X), other(X)
    return all(torch.equal(one[k], other[k]) for k in one)


def test_there_and_back(hub, model):
    address = model.push_to_hub('me/rooms', private=True, token='t', data='rooms', licence='mit')
    assert address == 'https://hub/me/rooms'
    assert hub.calls[0] == ('create_repo', 'me/rooms', True, 't')
    there = hub.root / 'me/rooms'
    assert {p.name for p in there.iterdir()} == {'model.safetensors', 'config.json', 'README.md'}
    card = (there / 'README.md').read_text()
    assert "from_pretrained('me/rooms')" in card and 'license: mit' in card
    assert same(from_pretrained('me/rooms'), model)
    assert same(mtpeft.from_pretrained('me/rooms@v2'), model)
    assert hub.calls[-1] == ('snapshot_download', 'me/rooms', 'v2')


def test_a_folder_of_that_name_is_the_folder(hub, model, tmp_path):
    model.save_pretrained('me/rooms')
    assert same(from_pretrained('me/rooms'), model) and not hub.calls


def test_a_hub_that_cannot_be_reached(hub, model, tmp_path, monkeypatch):
    def down(*_, **__):
        raise ConnectionError('no route to host\nand more')

    with pytest.raises(HubError, match="'me/none' is no file or folder here.*404"):
        from_pretrained('me/none')
    monkeypatch.setattr(huggingface_hub, 'upload_folder', down)
    with pytest.raises(HubError, match='no route to host') as said:
        model.push_to_hub('me/rooms')
    for name in ('model.safetensors', 'config.json', 'README.md'):
        assert f'rooms/{name}' in str(said.value)
    assert same(from_pretrained(tmp_path / 'here/rooms'), model)
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', down)
    with pytest.raises(HubError, match='no route to host'):
        from_pretrained('me/rooms')


@pytest.mark.parametrize('name', ['rooms', 'a/b/c', '../x', 'me/rooms@v2', '/etc/x', ''])
def test_names_that_are_no_repository(hub, model, name, tmp_path):
    with pytest.raises(HubError, match="name of a repository, 'user/name'"):
        model.push_to_hub(name)
    assert not hub.calls and not list((tmp_path / 'here').iterdir())
