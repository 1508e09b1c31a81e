"""Several sets of adapters on one base in memory."""

import copy
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.adapter_grid import stir
from helpers.engine import tiny, write_base

from mtpeft.apis import from_pretrained, init_model
from mtpeft.checkpoints.files import CheckpointError
from mtpeft.models import AdapterBackbone

X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
LORA = [dict(cfg=dict(type='LoRA', rank=3), targets=['qkv'])]
DORA = [dict(cfg=dict(type='DoRA', rank=2), targets=['proj', 'fc1'], lanes='task')]
#: method, tasks, and what else is trained: three sets that differ in all of it
KINDS = dict(
    default=dict(),
    rooms=dict(model__backbone__plugins=LORA, model__backbone__train_also=['biases']),
    depth=dict(
        model__backbone__plugins=DORA, model__backbone__train_also=[],
        model__tasks=dict(depth=dict()), model__backbone__tasks=['depth'],
    ),
)  # fmt: skip


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def outputs(model, **options):
    with torch.no_grad():
        return model(X, **options)


def made(base, name, seed):
    """A model with adapters, norms and biases away from their start."""
    cfg = tiny(base)
    options = dict(KINDS[name])
    tasks = options.pop('model__tasks', None)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    if tasks:
        cfg.model.pop('tasks')
        cfg.model.tasks = tasks
    model = init_model(cfg)
    stir(model, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.backbone.network.named_parameters():
            if parameter.requires_grad and 'adapter' not in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """Folders of three sets on one base, the base, and what each predicts alone."""
    folder = tmp_path_factory.mktemp('sets')
    base = write_base(folder / 'base.pth')
    expected = {}
    for seed, name in enumerate(KINDS):
        model = made(base, name, seed)
        model.save_pretrained(folder / name)
        expected[name] = outputs(model)
    return folder, base, expected


@pytest.fixture
def model(saved):
    folder, base, _ = saved
    model = from_pretrained(folder / 'default', base=base)
    model.load_adapter('rooms', folder / 'rooms')
    model.load_adapter('depth', folder / 'depth')
    return model


def tensors(model):
    """Memory of a model's tensors: address -> bytes."""
    own = [*model.parameters(), *model.buffers()]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in own}


def test_each_set_answers_as_its_model_alone(model, saved):
    expected = saved[2]
    assert model.adapter_names == ['default', 'rooms', 'depth']
    for name, wanted in expected.items():
        assert same(outputs(model, adapter=name), wanted)
        with model.use_adapter(name):
            assert same(outputs(model), wanted)
            assert same(outputs(model, adapter='default'), expected['default'])
        model.set_adapter(name)
        assert same(outputs(model), wanted)
        assert same(outputs(model.adapter_model()), wanted)
    with model.use_adapter('rooms'), model.use_adapter('default'):
        assert same(outputs(model), expected['default'])
    samples = model.predict(X, adapter='depth')
    assert samples[0].get_pred('semseg') is None and samples[0].get_pred('depth') is not None


def test_there_is_one_base_in_memory(model, saved):
    frozen = {name: set(model.adapter_model(name).backbone.frozen_state_keys()) for name in KINDS}
    everywhere = set.intersection(*frozen.values())
    state = [dict(model.adapter_model(name).backbone.state_dict()) for name in KINDS]
    for key in everywhere:
        assert len({own[key].data_ptr() for own in state}) == 1, key
    assert len(everywhere) > 20
    # all sets together: one whole model, and of the others what was trained
    all_sets: dict[int, int] = {}
    for name in KINDS:
        all_sets |= tensors(model.adapter_model(name))
    alone = sum(tensors(model).values())
    trained = sum(
        p.numel() * p.element_size()
        for name in ('rooms', 'depth')
        for p in model.adapter_model(name).parameters()
        if p.requires_grad
    )
    network = sum(v.numel() * v.element_size() for v in state[0].values())
    assert sum(all_sets.values()) < alone + trained + 0.3 * network


def test_switched_a_thousand_times_in_threads(model, saved):
    expected, names = saved[2], list(KINDS)
    barrier = threading.Barrier(4)

    def run(seed):
        torch.set_num_threads(1)
        order = random.Random(seed)
        barrier.wait(timeout=60)
        for _ in range(250):
            name = order.choice(names)
            if order.random() < 0.5:
                found = outputs(model, adapter=name)
            else:
                with model.use_adapter(name):
                    found = outputs(model)
            if not same(found, expected[name]):
                return f'thread {seed}: {name} gave something else'
        return ''

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [''] * 4


def test_without_adapters_it_is_the_frozen_network(model, saved):
    cfg = tiny(saved[1])
    plain = AdapterBackbone(cfg.model.backbone.backbone, tap='post_merge')
    plain.init_weights()
    plain.eval()
    with torch.no_grad(), model.disable_adapter():
        bare = model.adapter_model()
        levels, expected = bare.backbone(X), plain(X)
        assert all(torch.equal(a, b) for a, b in zip(levels, expected, strict=True))
        heads = model(X)
        assert list(heads) == ['semseg', 'depth'] and not same(heads, saved[2]['default'])
        assert same(outputs(model, adapter='rooms'), saved[2]['rooms'])
    assert same(outputs(model), saved[2]['default'])
    # its tensors are those of the model, but for norms that were trained
    shared = tensors(model).keys() & tensors(bare.backbone).keys()
    assert len(shared) > 0.5 * len(tensors(bare.backbone))


def test_a_model_alone_can_do_without_its_adapters(saved):
    folder, base, _ = saved
    model = from_pretrained(folder / 'default', base=base)
    with torch.no_grad(), model.disable_adapter():
        first = model(X)
    assert not same(first, outputs(model)) and same(outputs(model), saved[2]['default'])


def test_sets_are_let_go_of(model, saved):
    model.set_adapter('rooms')
    model.delete_adapter('rooms')
    assert model.adapter_names == ['default', 'depth']
    assert same(outputs(model), saved[2]['default'])
    with pytest.raises(ValueError, match="model's own"):
        model.delete_adapter('default')
    for call in (model.delete_adapter, model.set_adapter, model.use_adapter):
        with pytest.raises(KeyError, match="no adapters 'dept'. Did you mean 'depth'"):
            call('dept')
    with pytest.raises(KeyError, match="no adapters 'rooms'"):
        outputs(model, adapter='rooms')
    with pytest.raises(ValueError, match='a new name'):
        model.load_adapter('depth', saved[0] / 'depth')


def test_a_set_is_saved_and_trained_by_itself(model, saved, tmp_path):
    with model.use_adapter('rooms'):
        model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path, base=saved[1])
    assert same(outputs(again), saved[2]['rooms'])
    own = model.adapter_model('rooms')
    optimizer = torch.optim.SGD([p for p in own.parameters() if p.requires_grad], lr=0.1)
    sum(x.square().mean() for x in own(X).values()).backward()
    optimizer.step()
    assert not same(outputs(model, adapter='rooms'), saved[2]['rooms'])
    assert same(outputs(model, adapter='depth'), saved[2]['depth'])
    assert same(outputs(model), saved[2]['default'])


def test_they_move_and_are_copied_together(model, saved):
    twin = copy.deepcopy(model)
    model.double()
    with torch.no_grad():
        for name in KINDS:
            assert model(X.double(), adapter=name)['depth'].dtype == torch.float64
    key = 'backbone.network.layers.0.blocks.0.mlp.fc1.weight'
    at = {model.adapter_model(name).get_parameter(key).data_ptr() for name in KINDS}
    assert len(at) == 1
    assert same(outputs(twin, adapter='rooms'), saved[2]['rooms'])
    with pytest.raises(ValueError, match='float32'):
        model.load_adapter('late', saved[0] / 'rooms')


def test_another_base_is_refused(model, saved, tmp_path):
    other = write_base(tmp_path / 'other.pth', seed=9)
    made(other, 'rooms', 5).save_pretrained(tmp_path / 'other')
    with pytest.raises(CheckpointError, match='another base'):
        model.load_adapter('other', tmp_path / 'other')
    cfg = tiny()
    cfg.model.backbone.backbone.embed_dim = 16
    wide = init_model(cfg)
    wide.save_pretrained(tmp_path / 'wide')
    with pytest.raises(CheckpointError, match='networks differ'):
        model.load_adapter('wide', tmp_path / 'wide')
    init_model(tiny()).save_pretrained(tmp_path / 'random')
    with pytest.raises(CheckpointError, match='another base inside'):
        model.load_adapter('random', tmp_path / 'random')
    assert model.adapter_names == ['default', 'rooms', 'depth']


def test_merged_models_have_no_sets(model, saved, tmp_path):
    merged = from_pretrained(saved[0] / 'rooms', base=saved[1])
    merged.merge_adapters()
    merged.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='merged model'):
        model.load_adapter('merged', tmp_path)
    with pytest.raises(ValueError, match='is merged'):
        merged.load_adapter('depth', saved[0] / 'depth')
    # merging the model leaves the other sets as they are
    model.merge_adapters()
    assert same(outputs(model, adapter='rooms'), saved[2]['rooms'])
    model.unmerge_adapters()
    assert same(outputs(model), saved[2]['default'])


def test_a_network_that_was_trained_whole_has_no_base(saved, tmp_path):
    cfg = tiny(saved[1])
    cfg.model.backbone.update(freeze=False, plugins=[], train_also=[])
    model = init_model(cfg)
    with pytest.raises(ValueError, match='not known'), model.disable_adapter():
        model(X)


def test_the_words_of_peft(model, capsys):
    model.print_trainable_parameters()
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    share = f'{100 * trained / total:.4f}'
    line = f'trainable params: {trained:,} || all params: {total:,} || trainable%: {share}\n'
    assert capsys.readouterr().out == line
