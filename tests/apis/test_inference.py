"""Predictions for pictures of any size."""

import cv2
import numpy as np
import pytest
import torch
from helpers.engine import CONFIG, tiny, train, write_base
from helpers.shrunk import shrunk_run

from mtpeft.adapters import low_rank_adapters, rank_pattern
from mtpeft.apis import (
    MultiTaskInferencer,
    compare_predictions,
    draw_predictions,
    init_model,
)
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.models.backbones.pretrained import PretrainedWeightsError
from mtpeft.visualization.marks import Picture, Text

SHORT = dict(train_cfg__max_epochs=1, train_dataloader__dataset__length=4)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('inference')
    cfg = tiny(write_base(folder / 'base.pth'), **SHORT)
    return train(cfg, folder), cfg


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('size', [(32, 32), (33, 70), (7, 5)])
def test_any_size(trained, size):
    runner, cfg = trained
    predict = MultiTaskInferencer(init_model(cfg, f'{runner.work_dir}/epoch_1.pth'))
    result = predict(picture(*size))
    assert result['semseg'].shape == size and result['semseg'].dtype == np.int64
    assert result['depth'].shape == size and result['depth'].dtype == np.float32


def test_it_is_the_model_of_the_run(trained, tmp_path):
    runner, cfg = trained
    predict = MultiTaskInferencer(init_model(cfg, f'{runner.work_dir}/epoch_1.pth'))
    image = picture(64, 64)
    runner.model.eval()
    with torch.no_grad():
        batch = runner.model.data_preprocessor(dict(
            inputs=[torch.from_numpy(image.transpose(2, 0, 1))], data_samples=None
        ))  # fmt: skip
        logits = runner.model(batch['inputs'], None, mode='tensor')['depth']
    assert logits.shape[0] == 1
    wanted = torch.nn.functional.interpolate(logits, (64, 64), mode='bilinear')[0, 0]
    np.testing.assert_allclose(predict(image)['depth'], wanted.numpy(), atol=1e-5)


def test_files_arrays_and_lists_agree(trained, tmp_path):
    runner, cfg = trained
    predict = MultiTaskInferencer(init_model(cfg), tasks=['depth'])
    image = picture(32, 48)
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), image)
    one = predict(image)
    assert list(one) == ['depth']
    many = predict([path, str(path), image])
    for result in many:
        np.testing.assert_allclose(result['depth'], one['depth'], atol=1e-5)


def test_some_tasks_in_a_call_are_all_that_is_computed(trained):
    model = init_model(trained[1])
    predict, image = MultiTaskInferencer(model), picture(33, 40)
    calls = []
    model.decoder.heads['semseg'].register_forward_hook(lambda *_: calls.append(1))
    depth = predict(image, tasks=['depth'])
    assert list(depth) == ['depth'] and not calls
    full = predict(image)
    assert list(full) == ['semseg', 'depth'] and len(calls) == 1
    np.testing.assert_allclose(depth['depth'], full['depth'], rtol=1e-5, atol=1e-6)
    with pytest.raises(KeyError, match="inferencer has no task 'semseg'"):
        MultiTaskInferencer(model, tasks=['depth'])(image, tasks=['semseg'])


def test_bad_input(trained, tmp_path):
    runner, cfg = trained
    model = init_model(cfg)
    with pytest.raises(KeyError, match="no task 'dept'.*'depth'"):
        MultiTaskInferencer(model, tasks=['dept'])
    with pytest.raises(ValueError, match='float64'):
        MultiTaskInferencer(model)(np.zeros((4, 4, 3)))
    (tmp_path / 'no.jpg').write_bytes(b'no')
    with pytest.raises(ValueError, match='no.jpg'):
        MultiTaskInferencer(model)(tmp_path / 'no.jpg')


def test_checkpoints_are_checked(trained, tmp_path):
    runner, cfg = trained
    path = f'{runner.work_dir}/epoch_1.pth'
    wider = tiny(
        model__decoder__head__channels=9,
        model__backbone__backbone__pretrained=cfg.model.backbone.backbone.pretrained,
    )
    with pytest.raises(CheckpointError, match='epoch_1.pth is of another architecture'):
        init_model(wider, path)
    with pytest.raises(CheckpointError, match='another base'):
        init_model(tiny(write_base(tmp_path / 'other.pth', seed=9)), path)


def test_from_a_path_of_a_config():
    assert list(init_model(CONFIG).tasks) == ['semseg', 'depth']


def test_no_room_for_pruned_components(tmp_path):
    runner = shrunk_run(write_base(tmp_path / 'base.pth'), tmp_path)
    model = init_model(tmp_path / 'config.py', tmp_path / 'run/epoch_3.pth')
    assert rank_pattern(model) == rank_pattern(runner.model)
    for layer, adapter in low_rank_adapters(model).items():
        ranks = adapter.ranks()
        assert len(adapter.A) == ranks.pop('shared'), layer
        assert adapter.task_A.shape[1] == max(ranks.values()), layer
    count = [sum(p.numel() for p in m.parameters()) for m in (model, runner.model)]
    assert count[0] < count[1]
    image = picture(40, 33)
    compact = MultiTaskInferencer(model)(image)
    runner.model.eval()
    whole = MultiTaskInferencer(runner.model)(image)
    for name in whole:
        np.testing.assert_allclose(compact[name], whole[name], atol=1e-6)


def test_a_config_must_be_given_unless_the_weights_are_shipped(trained):
    runner, _ = trained
    with pytest.raises(ValueError, match="needs a config, unless the checkpoint is 'mtpeft:NAME'"):
        init_model(checkpoint=f'{runner.work_dir}/epoch_1.pth')
    with pytest.raises(PretrainedWeightsError, match="ships no weights 'faar'"):
        init_model(checkpoint='mtpeft:faar')


def test_a_drawing_holds_labels_where_there_are_some(trained):
    runner, cfg = trained
    model = init_model(cfg, f'{runner.work_dir}/epoch_1.pth')
    scene, own = (
        runner.val_dataloader.dataset[0],
        MultiTaskInferencer(model).prepare(picture(32, 32)),
    )
    with_labels, without = draw_predictions(model, [scene, own], height=64)
    assert with_labels.shape[0] > 2 * 64 > without.shape[0] > 64
    assert with_labels.shape[1] > 3 * 64 < without.shape[1]
    alone = draw_predictions(model, [own], height=64)[0]
    np.testing.assert_array_equal(alone, without)


def test_models_are_drawn_below_one_another(trained):
    runner, cfg = trained
    model = init_model(cfg, f'{runner.work_dir}/epoch_1.pth')
    scene, order = runner.val_dataloader.dataset[0], ['depth', 'semseg']
    sheet = compare_predictions({'one': model, 'other': model}, [scene], 64, tasks=order)
    said = [mark.text for mark in sheet.marks if isinstance(mark, Text)]
    assert [text for text in said if text in ('truth', 'one', 'other')] == ['truth', 'one', 'other']
    assert [text for text in said if text in order][:2] == order  # then the legend's
    maps = [mark.rgb for mark in sheet.marks if isinstance(mark, Picture)]
    same = [shown for shown in maps if shown.shape == (64, 64, 3)]
    assert len(same) == 1 + 3 * 2  # the input, and two tasks in three rows
    for one, other in zip(same[3:5], same[5:7], strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(KeyError, match="no task 'dept'"):
        compare_predictions({'one': model}, [scene], tasks=['dept'])
