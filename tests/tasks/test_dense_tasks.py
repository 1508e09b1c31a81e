"""Tasks are data: defaults by kind, validity, predictions, and errors that name the way out."""

import numpy as np
import pytest
import torch

from mtpeft.datasets.scenes.classes import CLASSES
from mtpeft.registry import TASKS
from mtpeft.tasks import DenseTask, build_tasks
from mtpeft.tasks.palettes import class_palette

BUILTIN = ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')
# channels, weight, direction of the headline, as the benchmarks' protocol has them
PROTOCOL = {
    'semseg': (21, 1, False),
    'human_parts': (7, 2, False),
    'sal': (1, 5, False),
    'normals': (3, 10, True),
    'depth': (1, 1, True),
    'edge': (1, 50, False),
}


def own(**options):
    return DenseTask(
        **{
            **dict(name='shading', kind='values', channels=1, loss=dict(type='MaskedL1Loss')),
            **dict(metric=dict(type='ValuesMetric'), headline='mae', lower_is_better=True),
            **options,
        }
    )


@pytest.mark.parametrize('name', BUILTIN)
def test_builtin_tasks_follow_the_protocol(name):
    task = build_tasks([name])[name]
    assert (task.channels, task.loss_weight, task.lower_is_better) == PROTOCOL[name]
    assert task.label_key == name


def test_only_normals_turn_and_only_depth_scales():
    tasks = build_tasks(BUILTIN)
    assert [n for n, t in tasks.items() if t.hflip == 'negate_x'] == ['normals']
    assert [n for n, t in tasks.items() if t.rotation == 'turn_vectors'] == ['normals']
    assert [n for n, t in tasks.items() if t.scaling == 'divide'] == ['depth']


def test_spec_as_dict_list_or_objects_and_its_order():
    from_dict = build_tasks(dict(depth=dict(), semseg=dict(num_classes=40)))
    from_list = build_tasks(['depth', dict(type='semseg', num_classes=40)])
    assert from_dict == from_list and list(from_dict) == ['depth', 'semseg']
    assert build_tasks(list(from_dict.values())) == from_dict
    renamed = build_tasks(dict(stuff=dict(type='semseg', num_classes=5)))
    assert renamed['stuff'].name == 'stuff' and renamed['stuff'].channels == 5


@pytest.mark.parametrize('xp', ['numpy', 'torch'])
def test_valid_is_false_where_every_channel_is_ignored_or_one_is_not_finite(xp):
    normals = build_tasks(['normals'])['normals']
    label = np.array([[[0, 0, 0], [0, 0, -1.0]], [[np.nan, 0, 1], [0.6, 0, -0.8]]])
    expected = [[False, True], [False, True]]
    if xp == 'torch':
        label = torch.tensor(label).permute(2, 0, 1)
        assert normals.valid(label, channel_axis=0).tolist() == expected
    else:
        assert normals.valid(label, channel_axis=-1).tolist() == expected
    semseg = build_tasks(['semseg'])['semseg']
    assert semseg.valid(np.array([0, 20, 255])).tolist() == [True, True, False]


def test_predictions_by_activation():
    tasks = build_tasks(['semseg', 'sal', 'normals', 'depth'])
    logits = torch.randn(2, 21, 3, 4)
    classes = tasks['semseg'].predict(logits)
    assert classes.dtype == torch.int64 and classes.shape == (2, 1, 3, 4)
    assert np.array_equal(classes[:, 0], logits.numpy().argmax(1))
    one = torch.randn(2, 1, 3, 4)
    torch.testing.assert_close(tasks['sal'].predict(one), 1 / (1 + (-one).exp()))
    lengths = tasks['normals'].predict(torch.randn(2, 3, 3, 4)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert tasks['depth'].predict(one) is one


@pytest.mark.parametrize('name, options', [('semseg', dict(num_classes=40)), ('human_parts', {})])
def test_classes_differ_from_each_other_and_from_a_light_background(name, options):
    colours = np.array(build_tasks({name: options})[name].palette, float)
    assert (colours[0] > 220).all()
    apart = np.linalg.norm(colours[:, None] - colours, axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert apart[0].min() > 90 and apart.min() > 0


def test_neighbouring_classes_are_far_apart():
    colours = np.array(class_palette(40)[1:], float)
    assert np.linalg.norm(np.diff(colours, axis=0), axis=1).min() > 90


def test_pascal_and_nyud_have_names():
    task = build_tasks(dict(semseg=dict(num_classes=21)))['semseg']
    assert task.classes[15] == 'person' and task.classes[20] == 'tvmonitor'
    nyud = build_tasks(dict(semseg=dict(num_classes=40)))['semseg'].classes
    for one in CLASSES:  # the scenes' own numbers of NYUD's classes
        if one.name in ('wall', 'floor', 'bookshelf', 'lamp', 'person', 'sofa', 'ceiling', 'box'):
            assert nyud[one.nyud] == one.name
    assert build_tasks(dict(semseg=dict(num_classes=41)))['semseg'].classes is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(kind='value'), "Did you mean 'values'"),
        (dict(hflip='negate'), "Did you mean 'negate_x'"),
        (dict(channels=0), 'positive integer, got 0'),
        (dict(channels=2, classes=('a',)), 'classes has 1 entries for 2 channels'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        own(**options)


def test_unknown_tasks_and_options_name_the_nearest():
    with pytest.raises(KeyError, match="Did you mean 'semseg'"):
        build_tasks(['semsg'])
    with pytest.raises(TypeError, match="no option 'hflp'. Did you mean 'hflip'"):
        build_tasks(dict(depth=dict(hflp='keep')))
    with pytest.raises(ValueError, match='at least one task'):
        build_tasks([])
    with pytest.raises(ValueError, match='occurs twice'):
        build_tasks(['depth', 'depth'])
    with pytest.raises(TypeError, match="DenseTask has no option 'chanels'. Did you mean 'channe"):
        TASKS.build(dict(type='DenseTask', name='a', chanels=1))
