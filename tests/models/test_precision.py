"""Models in half, brain and double precision, through the inferencer, merged and not."""

import copy

import numpy as np
import pytest
import torch
from helpers.configs import PICO, build
from models.tiny_models import tiny_model

from mtpeft.apis import MultiTaskInferencer

#: one config of every method
METHODS = {path.parent.name: path for path in reversed(PICO)}
PICTURE = np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8)


def stirred(path):
    model = build(path).eval()
    for name, parameter in model.named_parameters():
        if '.adapter.' in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def real(answer):
    return {name: x for name, x in answer.items() if x.dtype != np.int64}


@pytest.mark.parametrize('method', METHODS)
def test_a_model_answers_in_its_precision(method):
    model = stirred(METHODS[method])
    expected = real(MultiTaskInferencer(model)(PICTURE))
    for dtype, merged, far in ((torch.float64, True, 1e-4), (torch.float16, False, 0.1),
                               (torch.bfloat16, True, 0.5)):  # fmt: skip
        cast = copy.deepcopy(model).to(dtype)
        if merged:
            cast.merge_adapters()
        kinds = {v.dtype for v in cast.state_dict().values() if v.is_floating_point()}
        assert kinds == {dtype}
        found = real(MultiTaskInferencer(cast)(PICTURE))
        for name, x in found.items():
            # predictions of a model in half precision are in float32
            assert x.dtype == (np.float64 if dtype == torch.float64 else np.float32)
            scale = max(1, np.abs(expected[name]).max())
            assert np.abs(x - expected[name]).max() < far * scale, (dtype, name)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_pictures_are_normalised_in_float32_whatever_the_model_is_in(dtype):
    model = tiny_model()
    picture = torch.randint(256, (3, 8, 8), dtype=torch.uint8)
    expected = model.data_preprocessor(dict(inputs=[picture]))['inputs']
    assert torch.equal(
        model.to(dtype).data_preprocessor(dict(inputs=[picture]))['inputs'], expected
    )


def test_losses_and_autocast_are_as_before():
    model, x = tiny_model(), torch.randn(1, 3, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        seen = []
        model.backbone.register_forward_hook(lambda module, args, out: seen.append(args[0].dtype))
        logits = model(x)
    assert seen == [torch.float32] and logits['depth'].dtype == torch.float32
