"""An environment that holds two builds of one package, and configs of the maintained build."""

import warnings

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from mtpeft.utils import dependencies


def installed(monkeypatch, *names):
    def version(name):
        if name not in names:
            raise dependencies.PackageNotFoundError(name)
        return '1.0'

    monkeypatch.setattr(dependencies, 'version', version)


@pytest.mark.parametrize(('names', 'words'), [
    (('mmengine', 'onedl-mmengine'), 'mmengine and onedl-mmengine .both are mmengine'),
    (('mmsegmentation', 'onedl-mmsegmentation', 'onedl-mmcv'), 'both are mmseg'),
    (('mmcv-lite', 'onedl-mmcv', 'mmengine', 'onedl-mmengine'),
     'pip uninstall -y mmengine onedl-mmengine mmcv-lite onedl-mmcv\n'),
])  # fmt: skip
def test_two_builds_of_one_package_are_named_with_the_command_that_mends_it(
    monkeypatch, names, words
):
    installed(monkeypatch, *names)
    with pytest.warns(UserWarning, match=words):
        dependencies.warn_of_twins()


@pytest.mark.parametrize('names', [
    ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'),
    ('mmengine', 'mmcv', 'mmsegmentation'), (),
])  # fmt: skip
def test_one_build_of_each_is_silent(monkeypatch, names):
    installed(monkeypatch, *names)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        dependencies.warn_of_twins()


def test_a_config_inherits_from_one_of_mmsegmentation(tmp_path, monkeypatch):
    (tmp_path / 'a.py').write_text("_base_ = 'mmseg::_base_/models/upernet_swin.py'\n")
    cfg = Config.fromfile(tmp_path / 'a.py')  # mtpeft is imported
    assert cfg.model.type == 'EncoderDecoder' and cfg.model.decode_head.type == 'UPerHead'
    installed(monkeypatch, 'mmsegmentation')
    monkeypatch.setitem(MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    dependencies.find_package_configs()
    assert MODULE2PACKAGE['mmseg'] == 'mmsegmentation'


def test_mmcvs_warning_about_an_operator_is_left_out_and_others_are_not():
    with warnings.catch_warnings(record=True) as said:
        warnings.resetwarnings()
        dependencies.ignore_missing_operator()
        warnings.warn('Fail to import ``MultiScaleDeformableAttention`` from x', stacklevel=1)
        warnings.warn('something else', stacklevel=1)
    assert [str(warning.message) for warning in said] == ['something else']
