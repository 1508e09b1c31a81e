"""Projection neck."""

import pytest
import torch

from mtpeft.models import ProjectionNeck

WIDTHS = (192, 384, 768, 768)
PASCAL = ['semseg', 'human_parts', 'sal', 'normals']


def test_keys_and_published_count():
    neck = ProjectionNeck(WIDTHS, PASCAL)
    state = neck.state_dict()
    assert list(state)[:2] == ['proj.semseg.0.weight', 'proj.semseg.1.weight']
    assert tuple(state['proj.normals.3.weight'].shape) == (144, 768, 1, 1)
    assert len(state) == 16
    assert sum(p.numel() for p in neck.parameters()) == 732_672
    assert neck.out_channels == (18, 36, 72, 144)


def test_is_a_matrix_a_pixel_and_a_tuple_is_shared():
    neck = ProjectionNeck((4, 6), ['sal', 'depth'], (2, 3))
    levels = (torch.rand(2, 4, 5, 3), torch.rand(2, 6, 3, 2))
    shared = neck(levels)
    streams = neck(dict(depth=levels, sal=tuple(2 * x for x in levels)))
    assert list(shared) == list(streams) == ['sal', 'depth']
    for i, level in enumerate(levels):
        for task in shared:
            matrix = neck.proj[task][i].weight[:, :, 0, 0]
            wanted = torch.einsum('oc,bchw->bohw', matrix, level)
            torch.testing.assert_close(shared[task][i], wanted)
        torch.testing.assert_close(streams['depth'][i], shared['depth'][i])
        torch.testing.assert_close(streams['sal'][i], 2 * shared['sal'][i])


def test_levels_must_match():
    with pytest.raises(ValueError, match='3 levels'):
        ProjectionNeck((4, 6, 8), ['sal'], (2, 3))


def test_missing_stream():
    with pytest.raises(KeyError, match="no features for task 'depth'"):
        ProjectionNeck((4,), ['sal', 'depth'], (2,))(dict(sal=(torch.rand(1, 4, 2, 2),)))
