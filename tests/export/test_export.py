"""Exported files give what their model gives, whatever the method, family, batch and size."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from export.exported import METHODS, SIZE, TASKS, largest_error, noise, small
from helpers.backbones import TINY, tiny
from models.tiny_models import TinyBackbone, tiny_model
from timm.layers import Conv2dSame
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from mtpeft.apis import MultiTaskInferencer
from mtpeft.export import Exportable, ExportError, export_model, runner_of
from mtpeft.export.exportable import prepared
from mtpeft.export.graph import plain_attention, traced
from mtpeft.export.sizes import check_elsewhere, check_network, constant_padding
from mtpeft.models.backbones.families.fitted_shift import surely_fits

#: of the range of a map, in float32
SAME = 1e-4
TWO = {name: TASKS[name] for name in ('semseg', 'normals')}
needs_onnx = pytest.mark.skipif(
    not all(__import__('importlib.util').util.find_spec(n) for n in ('onnxscript', 'onnxruntime')),
    reason='onnx, onnxscript or onnxruntime: pip install "mtpeft[export]"',
)


# -- what a file does ----------------------------------------------------------------------------


@pytest.mark.parametrize('bgr', [True, False])
def test_maps_are_those_of_the_inferencer(bgr):
    model = small(size=(33, 50))
    model.data_preprocessor.bgr_to_rgb = bgr
    pictures = noise(2, (33, 50))
    with torch.no_grad():
        maps = Exportable(model)(torch.from_numpy(pictures))
    predict = MultiTaskInferencer(model)
    for i, picture in enumerate(pictures):
        answer = predict(np.ascontiguousarray(picture[..., ::-1]))  # it takes BGR
        for name in TASKS:
            assert maps[name][i].shape == answer[name].shape
            np.testing.assert_allclose(maps[name][i], answer[name], rtol=1e-4, atol=1e-5)
        assert maps['semseg'].dtype == torch.int64


def test_the_model_stays_as_it_is():
    model = small()
    keys = list(model.state_dict())
    prepared(model, half=True)
    assert list(model.state_dict()) == keys and not model.merged
    assert all(p.dtype == torch.float32 for p in model.parameters())


# -- ONNX ----------------------------------------------------------------------------------------


@needs_onnx
def test_streams_and_spectra(tmp_path):
    """A stream a task, and the neck of FAAR; the whole grid is docs/measure_export.py."""
    spectral = dict(type='TSPD', base_sizes=((16, 24), (8, 12)))
    model = tiny_model(
        tasks=TWO,
        backbone=dict(type=TinyBackbone, tasks=list(TWO)),
        necks=[dict(type='ProjectionNeck', out_channels=(3, 4)), spectral],
    ).eval()
    for parameter in model.necks[1].parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    error, exported, run = largest_error(model, tmp_path / 'a.onnx')
    assert error < SAME
    _check_metadata(tmp_path / 'a.onnx')
    for number in (1, 4):  # it was exported with two pictures, and compared on three
        assert {x.shape[:3] for x in run(noise(number)).values()} == {(number, *SIZE)}


def _check_metadata(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    about = session.get_modelmeta().custom_metadata_map
    tasks, given = json.loads(about['tasks']), json.loads(about['input'])
    assert list(tasks) == list(TWO) and [o.name for o in session.get_outputs()] == list(TWO)
    assert len(tasks['semseg']['classes']) == 5 and tasks['normals']['kind'] == 'vectors'
    (known,) = session.get_inputs()
    assert (known.name, known.type) == ('pictures', 'tensor(uint8)') == (given['name'], known.type)
    assert known.shape[1:] == [*SIZE, 3] and given['size'] == list(SIZE)
    assert isinstance(known.shape[0], str)  # free
    assert about['precision'] == 'float32' and about['mtpeft']


def test_some_tasks_raw_and_in_half_precision(tmp_path):
    model = tiny_model(tasks=TASKS).eval()
    exported = export_model(
        model, tmp_path / 'a.pt2', SIZE, tasks=['depth'], raw=True, half=True
    )  # fmt: skip
    run, x = runner_of(exported.path), exported.module.example(1, SIZE)
    found = run(x.numpy())
    assert list(found) == ['depth'] and found['depth'].dtype == np.float32
    with torch.no_grad():
        wanted = model(x)['depth'].numpy()
    assert np.abs(found['depth'] - wanted).max() < 2e-2 * np.ptp(wanted)


@needs_onnx
def test_dynamic_size(tmp_path):
    resnet = dict(type='mmseg.ResNet', depth=18, base_channels=8, stem_channels=8)
    model = tiny_model(
        tasks=TWO,
        backbone=dict(type='AdapterBackbone', backbone=resnet),
        necks=[],
        decoder=dict(type='MultiHeadDecoder', head=dict(type='HRNetHead', channels=8)),
    ).eval()
    exported = export_model(model, tmp_path / 'a.onnx', SIZE, dynamic_size=True)
    run, reference = runner_of(exported.path), exported.module
    for size in (SIZE, (96, 64), (45, 83)):
        with torch.no_grad():
            wanted = reference(torch.from_numpy(noise(1, size)))
        for name, found in run(noise(1, size)).items():
            np.testing.assert_allclose(found, wanted[name], rtol=1e-3, atol=1e-4)


def test_a_file_that_ends_at_other_sizes_is_not_written(tmp_path, monkeypatch):
    model = tiny_model(tasks=dict(depth=dict())).eval()
    of_one = lambda module, size, _: traced(module, size)  # noqa: E731
    monkeypatch.setattr('mtpeft.export.export.traced', of_one)
    with pytest.raises(ExportError, match=r'does not run \(.*\) at 77 x 118. Nothing was written'):
        export_model(model, tmp_path / 'a.pt2', SIZE, dynamic_size=True)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_wrong_at_its_own_size_is_not_written(tmp_path, monkeypatch):
    zeros = lambda *_: lambda x: dict(depth=np.zeros(x.shape[:3], np.float32))  # noqa: E731
    monkeypatch.setattr('mtpeft.export.export.runner_of', zeros)
    model = tiny_model(tasks=dict(depth=dict())).eval()
    with pytest.raises(ExportError, match="graph of this model is wrong: task 'depth' is off by"):
        export_model(model, tmp_path / 'a.pt2', SIZE)
    assert not list(tmp_path.iterdir())


def test_nor_is_one_that_gives_something_else_there():
    module = prepared(tiny_model(tasks=dict(depth=dict())).eval())

    def off(by):
        maps = lambda x: module(torch.from_numpy(x))['depth'].numpy()  # noqa: E731
        return lambda x: dict(depth=maps(x) + by * np.ptp(maps(x)))

    found = check_elsewhere(module, off(by=1e-5), SIZE)
    assert set(found) == {(77, 118), (37, 192)} and max(found.values()) < SAME
    with pytest.raises(ExportError, match='is off by 2.0e-02 of a range at 77 x 118'):
        check_elsewhere(module, off(by=2e-2), SIZE)
    assert check_elsewhere(module, off(by=2e-2), SIZE, half=True)


def test_lanes_of_a_network_with_one_module_in_two_places():
    """torch.export wraps the modules of such a network; the dropout of mmseg's MixFFN is one."""
    model = small(family='mmseg MiT', tasks=TWO)
    module, x = prepared(model), torch.from_numpy(noise(2))
    with torch.no_grad():
        wanted, found = module(x), traced(module, SIZE).module()(x)
    for name, value in wanted.items():
        error = (found[name] - value).abs().max()
        assert error <= (0 if value.dtype == torch.int64 else SAME * np.ptp(value.numpy())), name


@pytest.mark.parametrize('family', TINY)
def test_which_families_have_no_dynamic_size(family):
    module = SimpleNamespace(model=SimpleNamespace(backbone=tiny(family)))
    if family in ('timm Swin', 'timm Swin V2', 'mmseg Swin', 'timm Hiera'):
        with pytest.raises(ExportError, match='its size cannot be dynamic. Export one file'):
            check_network(module)
    else:
        check_network(module)


def test_a_graph_of_our_swin_is_not_for_maps_of_one_window_and_of_more():
    """Whoever calls torch.export without mtpeft export: it would hold one of the two ways."""
    assert surely_fits((7, 7), 7) and not surely_fits((7, 8), (7, 7))
    side = ShapeEnv().create_unbacked_symint()
    with pytest.raises(ValueError, match='A Swin shifts its windows where the map is larger'):
        surely_fits((7, side), 7)
    assert not surely_fits((8, side), 7)
    torch._check(side > 7)
    assert not surely_fits((7, side), 7)


def test_attention_of_hiera_is_written_out():
    model = tiny('timm Hiera').eval()
    x = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        wanted = model(x)
        with plain_attention(model):
            assert not any(getattr(m, 'fused_attn', False) for m in model.modules())
            found = model(x)
    for task, levels in wanted.items():
        for one, other in zip(levels, found[task], strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    assert all(m.fused_attn for m in model.modules() if hasattr(m, 'fused_attn'))


@pytest.mark.parametrize(
    'kernel, stride, dilation', [(3, 2, 1), (5, 2, 1), (2, 2, 1), (3, 1, 2), (1, 2, 1)]
)
def test_constant_padding_is_that_of_tensorflow(kernel, stride, dilation):
    conv = Conv2dSame(2, 3, kernel, stride, dilation=dilation)
    for size in ((8, 12), (14, 6)):
        x = torch.randn(1, 2, *size)
        wanted = conv(x)
        with constant_padding(conv):
            assert torch.equal(conv(x), wanted)
    assert 'forward' not in vars(conv)


# -- graphs of torch.export ----------------------------------------------------------------------


def test_pt2(tmp_path):
    model = tiny_model(tasks=TWO).eval()
    error, exported, _ = largest_error(model, tmp_path / 'a.pt2')
    assert error < SAME
    texts = dict.fromkeys(('tasks', 'input', 'mtpeft', 'precision'), '')
    torch.export.load(tmp_path / 'a.pt2', extra_files=texts)
    assert list(json.loads(texts['tasks'])) == list(TWO)
    program = torch.export.load(tmp_path / 'a.pt2')
    assert not [n for n in program.graph.nodes if 'mtpeft' in str(n.target)]


def test_the_graph_of_a_swin_is_for_any_number_of_pictures():
    module = prepared(small(**METHODS['MTLoRA as published'], tasks=dict(normals=dict())))
    graph = traced(module, SIZE).module()
    assert not [n for n in graph.graph.nodes if 'mtpeft' in str(n.target)]
    for number in (1, 3):
        pictures = torch.from_numpy(noise(number))
        with torch.no_grad():
            wanted, found = module(pictures), graph(pictures)
        torch.testing.assert_close(found['normals'], wanted['normals'], rtol=1e-4, atol=1e-5)


# -- what cannot be ------------------------------------------------------------------------------


def test_a_file_that_is_there_is_kept(tmp_path):
    path = tmp_path / 'a.pt2'
    path.write_bytes(b'mine')
    with pytest.raises(FileExistsError, match='--force'):
        export_model(small(), path, SIZE)
    assert path.read_bytes() == b'mine' and list(tmp_path.iterdir()) == [path]


def test_words_for_what_cannot_be(tmp_path):
    model = small()
    with pytest.raises(ValueError, match='.onnx or .pt2'):
        export_model(model, tmp_path / 'a.pth', SIZE)
    with pytest.raises(KeyError, match="Did you mean 'depth'"):
        export_model(model, tmp_path / 'a.pt2', SIZE, tasks=['deph'])
    with pytest.raises(TypeError, match='MultiTaskModel'):
        export_model(torch.nn.Linear(2, 2), tmp_path / 'a.pt2', SIZE)
    vit = small(family='timm ViT')
    vit.backbone.network.patch_embed.strict_img_size = True
    with pytest.raises(ExportError, match='224 x 224 and takes no others'):
        export_model(vit, tmp_path / 'a.pt2', SIZE, dynamic_size=True)
    assert not list(tmp_path.iterdir())


def test_a_trace_that_ends_names_its_layer(tmp_path, monkeypatch):
    model, name = tiny_model(tasks=TWO).eval(), 'backbone.down'

    def broken(x):
        raise ValueError('not this one')

    monkeypatch.setattr(model.get_submodule(name), 'forward', broken)
    monkeypatch.setattr('mtpeft.export.export.prepared', lambda model, *_: Exportable(model))
    with pytest.raises(ExportError, match=f'not this one.* ended in {name}'):
        export_model(model, tmp_path / 'a.pt2', SIZE)
