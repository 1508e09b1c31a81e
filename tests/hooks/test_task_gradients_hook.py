"""Runs whose weighting combines gradients."""

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from models.tiny_models import tiny_model

from mtpeft.hooks import TaskGradientsHook
from mtpeft.hooks.task_gradients_hook import ensure_task_gradients


class Run:
    """What the hook asks of a Runner."""

    def __init__(self, model, wrapper):
        self.model, self.optim_wrapper, self.hooks = model, wrapper, []

    def register_hook(self, hook):
        self.hooks.append(hook)


def run(kind='GradNorm', wrapper=None):
    model = tiny_model(loss_weighting=dict(type=kind))
    return Run(model, wrapper or OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))


def test_it_is_there_where_the_weighting_asks_for_it_and_once():
    combined, plain = run(), run('UncertaintyWeighting')
    for _ in range(2):
        ensure_task_gradients(combined)
        ensure_task_gradients(plain)
    assert [type(hook) for hook in combined.hooks] == [TaskGradientsHook] and not plain.hooks


def test_a_second_training_of_the_same_run_changes_nothing_more():
    there = run()
    hook = TaskGradientsHook()
    hook.before_train(there)
    backward = there.optim_wrapper.backward
    hook.before_train(there)
    assert there.optim_wrapper.backward == backward and there.model.loss_weighting.installed


def test_words():
    model = tiny_model(loss_weighting=dict(type='GradNorm'))
    parts = OptimWrapperDict(a=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    with pytest.raises(TypeError, match='one optimizer'):
        TaskGradientsHook().before_train(Run(model, parts))
    compiled = run()
    compiled.model.decoder.compile(backend='eager')
    with pytest.raises(RuntimeError, match='without --compile'):
        TaskGradientsHook().before_train(compiled)
