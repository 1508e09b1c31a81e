"""Configs that are found by name from any folder."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mtpeft.apis.read_config import load_config
from mtpeft.utils import shipped
from mtpeft.utils.shipped import find_config, shipped_configs, shipped_root

ROOT = Path(__file__).parents[2]
NAMES = (
    'lora_swin-pico_scenes', 'lora_swin-pico_scenes.py', 'lora/lora_swin-pico_scenes',
    'lora/lora_swin-pico_scenes.py', 'configs/lora/lora_swin-pico_scenes.py',
    'mtpeft::lora/lora_swin-pico_scenes.py',
)  # fmt: skip


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('name', NAMES)
def test_a_name_is_found_from_any_folder(elsewhere, name):
    assert Path(find_config(name)).samefile(ROOT / 'configs/lora/lora_swin-pico_scenes.py')


def test_every_config_that_can_be_run_has_a_name_of_its_own():
    files = {path for path in (ROOT / 'configs').glob('*/*.py')
             if path.parent.name not in ('_base_', 'suites')}  # fmt: skip
    assert set(shipped_configs().values()) == files
    assert set(shipped_configs()) == {path.stem for path in files}


def test_a_file_of_that_path_comes_first(elsewhere):
    (elsewhere / 'lora_swin-pico_scenes').write_text('mine = 1\n')
    assert find_config('lora_swin-pico_scenes') == 'lora_swin-pico_scenes'
    Path('lora_swin-pico_scenes').rename('own.py')
    assert load_config('own.py').mine == 1


@pytest.mark.parametrize(('name', 'said'), [
    ('lora_swin-pico_scens', 'Did you mean lora_swin-pico_scenes'),
    ('faar/lora_swin-pico_scenes', 'Did you mean lora_swin-pico_scenes'),
    ('mtpeft::faar/far_swin-t_pascal.py', 'Did you mean faar_swin-t_pascal'),
    ('zzz', 'Looked from'), ('_base_/default_runtime', 'Looked from'), ('', 'Looked from'),
])  # fmt: skip
def test_a_wrong_name_gets_the_nearest(elsewhere, name, said):
    with pytest.raises(FileNotFoundError, match=said):
        find_config(name)


def test_files_beside_the_one_that_was_meant_come_first(elsewhere):
    (elsewhere / 'my_loras.py').write_text('')
    with pytest.raises(FileNotFoundError, match=r'Did you mean my_loras\.py\?'):
        find_config('my_lora.py')


def test_from_a_checkout_the_path_is_short(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert find_config('lora_swin-pico_scenes') == 'configs/lora/lora_swin-pico_scenes.py'


def test_a_config_inherits_from_one_of_ours_by_the_name_of_the_package(elsewhere):
    (elsewhere / 'own.py').write_text(
        "_base_ = 'mtpeft::lora/lora_swin-pico_scenes.py'\nmine = 1\n"
    )
    own, ours = load_config('own.py').to_dict(), load_config('lora_swin-pico_scenes').to_dict()
    assert own.pop('mine') == 1 and without_scope(own) == without_scope(ours)


def without_scope(value):
    """MMEngine notes the package of a base in what it builds."""
    if isinstance(value, dict):
        return {key: without_scope(v) for key, v in value.items() if key != '_scope_'}
    return [without_scope(v) for v in value] if isinstance(value, list | tuple) else value


def test_the_links_of_a_checkout_lead_to_what_a_wheel_has():
    inside = Path(shipped.__file__).parents[1] / '.mim'
    for name in ('configs', 'tools'):
        assert (inside / name).resolve() == shipped_root() / name
    assert Config.fromfile(inside / 'model-index.yml').Import == []
