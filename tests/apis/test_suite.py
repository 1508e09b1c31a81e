"""A suite goes on where it stopped, survives failures, and its table is right."""

import contextlib
import csv
import json
import os
import statistics
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.engine import CONFIG, ROOT, call_tool, tiny, train, write_base
from helpers.shrunk import shrinking
from helpers.suites import calls, compare, fake_tools, make_suite, run, statuses

import mtpeft.apis.suite.attempt as suite_attempt
from mtpeft.adapters.ranks.low_rank import pruned_parameters, rank_pattern
from mtpeft.apis.suite import ChangedRecipeError, collect, load_suite, write_report
from mtpeft.apis.suite.folder import BusyError, RunFolder
from mtpeft.apis.suite.recipe import flatten, option_words
from mtpeft.apis.suite.run import SuiteRunner
from mtpeft.apis.suite.summary import summarise
from mtpeft.checkpoints.files import safe_load
from mtpeft.evaluation import MultiTaskEvaluator
from mtpeft.models import parameter_components
from mtpeft.registry import MODELS

FIGURES = dict(
    semseg=dict(semseg=('mIoU', [40.0, 44.0], False)),
    depth=dict(depth=('rmse', [1.0, 0.8], True)),
    lora=dict(semseg=('mIoU', [42.0, 48.0], False), depth=('rmse', [0.9, 0.75], True)),
)


def test_a_failure_is_noted_and_the_suite_goes_on(tmp_path):
    path = make_suite(tmp_path, FIGURES, depth='error', lora='kill', extra=['silent', 'missing'])
    suite, said = load_suite(str(path)), []
    run(suite, tmp_path, say=said.append)
    assert statuses(suite, tmp_path) == dict(
        semseg='finished', depth='failed', lora='failed', silent='failed', missing='broken'
    )
    reasons = {r.entry.label: r.reason for r in collect(suite, tmp_path / 'work')}
    assert reasons['depth'] == "KeyError: 'no such role' (exit status 1)"
    assert reasons['lora'].startswith('killed by SIGKILL')
    assert reasons['silent'] == 'ended without a result: training'
    assert 'missing.py' in reasons['missing']
    assert 'KeyError' in (tmp_path / 'work/depth/seed0/log.txt').read_text()
    write_report(suite, tmp_path / 'work')
    text = (tmp_path / 'work/table.md').read_text()
    assert "depth seed 0 failed: KeyError: 'no such role'" in text
    row = next(line for line in text.splitlines() if line.startswith('| missing |'))
    assert row.endswith('... |') and len(row) < 120  # the whole reason is below the table
    assert f'missing seed 0 broken: {reasons["missing"]}' in text
    assert sum('failed. ' in line for line in said) == 4


def test_the_next_call_goes_on_where_the_first_stopped(tmp_path):
    path = make_suite(tmp_path, FIGURES, lora='kill')
    suite = load_suite(str(path))
    run(suite, tmp_path)
    assert statuses(suite, tmp_path)['lora'] == 'failed'
    run(suite, tmp_path)
    assert set(statuses(suite, tmp_path).values()) == {'finished'}
    assert calls(tmp_path) == ['semseg 0 new', 'depth 0 new', 'lora 0 new', 'lora 0 resumed']
    run(suite, tmp_path)
    assert len(calls(tmp_path)) == 4


def test_numbers_of_the_table_recomputed_by_hand(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES, seeds=[0, 1])))
    run(suite, tmp_path)
    write_report(suite, tmp_path / 'work')
    semseg, depth = (40.0 + 44.0) / 2, (1.0 + 0.8) / 2
    gains = [((m - semseg) / semseg - (r - depth) / depth) / 2 * 100
             for m, r in ((42.0, 0.9), (48.0, 0.75))]  # fmt: skip
    with open(tmp_path / 'work/table.csv') as file:
        single, lora = csv.DictReader(file)
    assert (single['method'], lora['method']) == ('single_task', 'lora')
    assert float(lora['delta_m']) == pytest.approx(sum(gains) / 2)
    assert float(lora['delta_m std']) == pytest.approx(abs(gains[0] - gains[1]) / 2**0.5)
    assert float(lora['semseg/mIoU']) == 45.0
    assert float(lora['semseg/mIoU std']) == pytest.approx(18**0.5)
    assert float(single['depth/rmse']) == pytest.approx(0.9)
    assert lora['seeds'] == '0 1' and lora['problems'] == ''
    # the networks of the single tasks together: sums, and the largest memory
    assert [int(single[k]) for k in ('trainable', 'without_decoder_and_unused')] == [6000, 4000]
    assert [int(lora[k]) for k in ('trainable', 'without_decoder_and_unused')] == [3000, 2000]
    assert float(single['seconds_per_step']) == pytest.approx(0.3 + 0.3)
    assert float(lora['seconds_per_step']) == pytest.approx(0.3)
    assert float(lora['peak_memory_mb']) == 101.0
    line = next(x for x in (tmp_path / 'work/table.md').read_text().splitlines() if 'lora' in x)
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    assert cells[:3] == ['lora', '45.00 ± 4.24', '0.825 ± 0.106']
    assert cells[3].startswith(f'{sum(gains) / 2:+.2f} ± ')
    assert cells[4:7] == ['0.003', '0.003', '0.002']


def test_parameters_after_shrinking_are_means_over_seeds(tmp_path):
    """Runs made before ranks could shrink count as they were trained."""
    suite = load_suite(str(make_suite(tmp_path, FIGURES, seeds=[0, 1])))
    run(suite, tmp_path)
    for seed, effective in enumerate((2000, 1500)):
        file = tmp_path / f'work/lora/seed{seed}/result.json'
        result = json.loads(file.read_text())
        result['parameters'].update(
            effective=effective, effective_without_decoder=effective - 500, mean_rank=3.5
        )
        file.write_text(json.dumps(result))
    write_report(suite, tmp_path / 'work')
    with open(tmp_path / 'work/table.csv') as file:
        single, lora = csv.DictReader(file)
    columns = ('trainable', 'effective', 'without_decoder', 'effective_without_decoder')
    assert [int(lora[k]) for k in columns] == [3000, 1750, 2500, 1250]
    assert [int(single[k]) for k in columns] == [6000, 6000, 5000, 5000]
    table = (tmp_path / 'work/table.md').read_text()
    assert '| trainable M | effective M | without M |' in table
    assert '| 0.003 | 0.002 | 0.002 |' in table


def test_baselines_are_what_the_evaluator_reads(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES, seeds=[0, 1])))
    run(suite, tmp_path)
    write_report(suite, tmp_path / 'work')
    file = str(tmp_path / 'work/baselines.json')
    evaluator = MultiTaskEvaluator(tasks=['semseg', 'depth'], baselines=file)
    assert evaluator.baselines == dict(
        semseg=dict(mIoU=42.0), depth=dict(rmse=pytest.approx(0.9))
    )  # fmt: skip


@pytest.mark.parametrize(
    ('single', 'method', 'gains'),
    [
        # (42 - 40) / 40 and (1 - .9) / 1; (48 - 40) / 40 and (1 - .75) / 1
        ([0], [0, 1], [(5 + 10) / 2, (20 + 25) / 2]),
        # over 42 and .9
        ([0, 1], [0], [0.0]),
        ([0, 1], [1], [(100 / 7 + 100 / 6) / 2]),
    ],
)
def test_all_rows_have_one_baseline_however_many_seeds(tmp_path, single, method, gains):
    seeds = dict(semseg=single, depth=single, lora=method)
    suite = load_suite(str(make_suite(tmp_path, FIGURES, seeds=[7], own_seeds=seeds)))
    run(suite, tmp_path)
    made = {(c.split()[0], int(c.split()[1])) for c in calls(tmp_path)}
    assert made == {(label, seed) for label, own in seeds.items() for seed in own}
    row = summarise(collect(suite, tmp_path / 'work')).rows[1]
    assert row.seeds == tuple(method) and row.delta_note == ''
    assert row.delta_m.mean == pytest.approx(statistics.fmean(gains), abs=1e-9)
    assert row.delta_m.number == len(gains)
    text = write_report(suite, tmp_path / 'work') and (tmp_path / 'work/table.md').read_text()
    line = next(line for line in text.splitlines() if line.startswith('| lora |'))
    assert ('±' in line) == (len(method) > 1)
    # the command line decides for all entries
    assert {r.seed for r in collect(suite.with_seeds([3, 4]), tmp_path / 'work')} == {3, 4}


def test_runs_are_made_by_stage_then_by_seed(tmp_path):
    path = make_suite(tmp_path, FIGURES, seeds=[0, 1], stages=dict(semseg=1, depth=-1))
    run(load_suite(str(path)), tmp_path)
    made = [f'{label} {seed} new' for label in ('depth', 'lora', 'semseg') for seed in (0, 1)]
    assert calls(tmp_path) == made
    # the table keeps the order of the file
    assert list(statuses(load_suite(str(path)), tmp_path))[::-1] == list(FIGURES)


def test_no_delta_without_every_baseline(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES, depth='error')))
    run(suite, tmp_path)
    row = write_report(suite, tmp_path / 'work').rows[1]
    assert row.delta_m is None and row.delta_note.endswith('in the configs of depth')
    assert not (tmp_path / 'work/delta_m.png').exists()
    assert list(json.loads((tmp_path / 'work/baselines.json').read_text())['baselines']) == [
        'semseg'
    ]


def test_a_changed_recipe_is_refused_and_redone_only_on_demand(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES)))
    run(suite, tmp_path)
    config = tmp_path / 'lora.py'
    config.write_text(config.read_text().replace('epochs = 1', 'epochs = 2'))
    with pytest.raises(ChangedRecipeError, match=r'(?s)1 of the 3.*lora.*epochs: 1 -> 2.*--redo'):
        run(suite, tmp_path)
    assert len(calls(tmp_path)) == 3
    # nor is the old result passed off as the new recipe's
    rows = summarise(collect(suite, tmp_path / 'work')).rows
    assert rows[1].seeds == () and 'changed' in rows[1].problems[0]
    run(suite, tmp_path, redo=True)
    assert calls(tmp_path)[3:] == ['lora 0 new']
    assert (tmp_path / 'work/lora/seed0.old1/result.json').is_file()
    assert set(statuses(suite, tmp_path).values()) == {'finished'}


@pytest.mark.parametrize(
    'line',
    [
        'log_level = "DEBUG"',
        'val_dataloader = dict(num_workers=3)',
        'val_evaluator = dict(baselines=dict(depth=0.5))',
    ],
)
def test_what_changes_no_figure_is_no_change_of_recipe(tmp_path, line):
    suite = load_suite(str(make_suite(tmp_path, FIGURES)))
    run(suite, tmp_path)
    config = tmp_path / 'lora.py'
    config.write_text(f'{config.read_text()}\n{line}\n')
    run(suite, tmp_path)
    assert len(calls(tmp_path)) == 3


def test_an_entry_that_failed_at_once_may_be_put_right(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES, lora='error')))
    run(suite, tmp_path)
    config = tmp_path / 'lora.py'
    config.write_text(config.read_text().replace("'error'", "'ok'"))
    run(suite, tmp_path)
    assert statuses(suite, tmp_path)['lora'] == 'finished'


def test_a_folder_in_use_is_left_alone(tmp_path):
    suite, said = load_suite(str(make_suite(tmp_path, FIGURES))), []
    folder = RunFolder(tmp_path / 'work/lora/seed0')
    with folder.locked() as file:
        child = subprocess.Popen(
            [sys.executable, '-c', 'import time; time.sleep(60)'], pass_fds=[file.fileno()]
        )
        # as if this process were killed: the child's copy holds the folder
        os.dup2(os.open(os.devnull, os.O_RDONLY), file.fileno())
    try:
        with pytest.raises(BusyError, match='Another process'), folder.locked(patience=0):
            pass
    finally:
        child.kill()
        child.wait()
    run(suite, tmp_path, say=said.append)
    assert statuses(suite, tmp_path)['lora'] == 'finished'


def test_a_run_that_another_process_finished_is_not_made_again(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES)))
    runner = SuiteRunner(suite, tmp_path / 'work', ROOT / 'tests/data/fake_train.py')
    before = runner.todo()
    run(suite, tmp_path)
    runner.todo = lambda entries: before
    runner.run()
    assert len(calls(tmp_path)) == 3 and set(statuses(suite, tmp_path).values()) == {'finished'}


def test_configs_restrict_or_add(tmp_path):
    suite = load_suite(str(make_suite(tmp_path, FIGURES)))
    same, chosen = suite.with_configs([str(tmp_path / 'lora.py'), 'depth'])
    assert same == suite and [entry.label for entry in chosen] == ['lora', 'depth']
    other = tmp_path / 'other.py'
    other.write_text((tmp_path / 'lora.py').read_text())
    more, chosen = suite.with_configs([str(other)])
    assert [entry.label for entry in chosen] == ['other'] and len(more.entries) == 4
    run(more, tmp_path, chosen)
    assert calls(tmp_path) == ['other 0 new']
    # found again without being named
    assert statuses(suite, tmp_path)['other'] == 'finished'
    with pytest.raises(FileNotFoundError, match="Did you mean 'lora'"):
        suite.with_configs(['lorra'])


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('entrys = []', "unknown name 'entrys'.*'entries'"),
        ('entries = []', 'has no entries'),
        ("entries = [dict(label='a')]", "lacks 'config'"),
        ("entries = [dict(label='a/b', config='c.py')]", 'names a folder'),
        ("entries = [dict(label='a', config='c.py', role='single')]", "'single_task'"),
        ("entries = [dict(label='a', config='c.py', rol='x')]", "no option 'rol'.*'role'"),
        ("entries = [dict(label='a', config='c.py')] * 2", 'occurs twice'),
        ("entries = [dict(label='a', config='c.py')]\nseeds = [1, 1]", 'different seeds'),
        ("entries = [dict(label='a', config='c.py', seeds=[])]", "'a': Expected different seeds"),
        ("entries = [dict(label='a', config='c.py', stage='x')]", "'a': expected stage"),
    ],
)
def test_a_wrong_suite_says_what_is_wrong(tmp_path, text, match):
    file = tmp_path / 'wrong.py'
    file.write_text(text)
    with pytest.raises(ValueError, match=match):
        load_suite(str(file))


def test_suites_of_the_repository_name_configs():
    folder = ROOT / 'configs' / 'suites'
    for name in ('scenes', 'pascal'):
        for entry in load_suite(name, folder).entries:
            assert Path(entry.config).is_file(), entry
    assert {e.role for e in load_suite('nyud', folder).entries} == {'single_task', 'method'}
    with pytest.raises(FileNotFoundError, match="Did you mean 'scenes'"):
        load_suite('scene', folder)


def test_options_survive_the_command_line():
    from mmengine.config import DictAction

    options = flatten({'a': {'b': 1, 'c': {'d': [1.5, 'x']}}, 'e.0.f': (3, 4), 'g': None, 'h': ''})
    parsed = {k: DictAction._parse_iterable(v)
              for k, v in (word.split('=', 1) for word in option_words(options))}  # fmt: skip
    assert parsed == {'a.b': 1, 'a.c.d': [1.5, 'x'], 'e.0.f': (3, 4), 'g': None, 'h': ''}
    for value in ([dict(type='x')], 'two words', '12'):
        with pytest.raises(ValueError, match='--cfg-options'):
            option_words({'a': value})


def test_the_tool(tmp_path, monkeypatch, capsys):
    suite = make_suite(tmp_path, FIGURES, lora='kill')
    fake_tools(tmp_path)
    words = ('--suite', suite, '--work-dir', tmp_path / 'work')

    def call(*more):
        return compare(monkeypatch, capsys, *words, *more, root=tmp_path)

    code, out = call('--dry-run')
    assert code == 0 and out.count('tools/train.py') == 3 and not (tmp_path / 'work').exists()
    code, out = call()
    assert code == 1 and 'killed by SIGKILL' in out
    code, out = call('--collect')
    assert code == 1 and len(calls(tmp_path)) == 3
    code, out = call('lora')
    assert code == 0 and '| lora | 42.00 | 0.900 | +7.50 |' in out
    assert {p.name for p in (tmp_path / 'work').glob('*.*')} >= {
        'table.md', 'table.csv', 'table.tex', 'delta_m.png', 'delta_m.pdf', 'delta_m.svg',
        'baselines.json',
    }  # fmt: skip
    code, out = call('--cfg-options', 'auto_scale_lr.enable=True')
    assert code == 2 and "auto_scale_lr.enable: '-' -> True" in out
    code, out = call('--cfg-options', 'epochs=5')
    assert code == 1 and 'epochs: changes nothing' in out


# -- real runs ---------------------------------------------------------------------------------

REAL = """
_base_ = [{config!r}]
train_cfg = dict(max_epochs=2)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(vis_backends=vis_backends)
custom_imports = dict(imports=['suite_kill_hook'])
default_hooks = dict(kill=dict(type='KillOnceHook', active={active}))
"""
HOOK = """
import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillOnceHook(Hook):
    def __init__(self, active):
        self.active = active

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.active and runner.iter == 4 and not runner._resume:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def call_here(command, log, lock, environment, elsewhere=suite_attempt.start):
    """Run tools/train.py in this process, which spares the imports, unless it is to be killed."""
    if any('/cut/' in word for word in command):
        return elsewhere(command, log, lock, environment)
    code = 0
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            call_tool(*command[1:])
    except Exception:
        traceback.print_exc(file=log)
        code = 1
    except SystemExit as error:
        code = error.code
    return SimpleNamespace(returncode=code, poll=lambda: code)


@pytest.fixture(scope='module')
def real(tmp_path_factory):
    """A suite of real runs: one whole, one killed and resumed, one with a bad option."""
    folder = tmp_path_factory.mktemp('real')
    (folder / 'suite_kill_hook.py').write_text(HOOK)
    for name in ('whole', 'cut'):
        text = REAL.format(config=str(CONFIG), active=name == 'cut')
        (folder / f'{name}.py').write_text(text)
    bad = {'model.backbone.train_also': ['block_norm']}
    (folder / 'tiny.py').write_text(
        "entries = [dict(label='whole', config='whole.py', role='single_task'),"
        f"dict(label='bad', config='whole.py', cfg_options={bad!r}),"
        "dict(label='cut', config='cut.py')]"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', f'{folder}:{ROOT}')
        patch.setenv('OMP_NUM_THREADS', '1')
        patch.syspath_prepend(str(folder))
        patch.setattr(suite_attempt, 'start', call_here)
        suite = load_suite(str(folder / 'tiny.py'))
        runner = SuiteRunner(suite, folder / 'work', ROOT / 'tools' / 'train.py')
        runner.run()
        first = {r.entry.label: r for r in collect(suite, folder / 'work')}
        runner.run([entry for entry in suite.entries if entry.label != 'bad'])
        second = {r.entry.label: r for r in collect(suite, folder / 'work')}
    return first, second


def test_real_states(real):
    first, second = real
    assert [first[k].status for k in ('whole', 'bad', 'cut')] == ['finished', 'failed', 'failed']
    assert 'block_norm' in first['bad'].reason and 'Error' in first['bad'].reason
    assert first['cut'].reason.startswith('killed by SIGKILL')
    assert second['cut'].status == 'finished'
    assert second['whole'].result == first['whole'].result


def test_killed_and_resumed_gives_the_numbers_of_an_uninterrupted_run(real):
    _, second = real
    whole, cut = second['whole'].result, second['cut'].result
    assert whole['metrics'] == cut['metrics'] and len(whole['metrics']) >= 4
    assert (whole['epochs'], whole['iterations']) == (cut['epochs'], cut['iterations']) == (2, 6)


def test_the_result_says_what_the_logs_say(real):
    run = real[1]['whole']
    result, folder = run.result, run.folder.path
    scalars = next(folder.glob('*/vis_data/scalars.json')).read_text().splitlines()
    logged = [json.loads(line) for line in scalars]
    last = next(line for line in reversed(logged) if 'depth/rmse' in line)
    for name, value in result['metrics'].items():
        assert last[name] == pytest.approx(value), name
    saved = safe_load(folder / 'epoch_2.pth')
    times = saved['message_hub']['log_scalars']['train/time'].data[0]
    assert len(times) == 6 and result['seconds_per_step'] == statistics.median(times)
    assert result['training_seconds'] == pytest.approx(sum(times))
    assert result['host']['processor']
    assert result['seed'] == 0 and 50 < result['peak_memory_mb'] < 100_000
    depth = result['headline']['depth']
    assert (depth['metric'], depth['unit'], depth['lower_is_better']) == ('rmse', 'm', True)


def test_the_result_counts_parameters_by_what_they_are_for(real):
    counts = real[1]['whole'].result['parameters']
    model = MODELS.build(tiny().model)
    sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    backbone = sum(size for name, size in sizes.items() if name.startswith('backbone.'))
    assert counts['trainable'] == sum(sizes.values())
    assert counts['without_decoder'] == backbone
    unused = parameter_components(model)['unused']
    assert unused > 0 and counts['without_decoder_and_unused'] == backbone - unused


def test_a_run_without_an_evaluation_of_its_last_epoch_gets_one(tmp_path):
    cfg = tiny(train_cfg__max_epochs=1, train_cfg__val_begin=5)
    cfg.default_hooks.result = dict(type='ResultHook', recipe='r')
    train(cfg, tmp_path)
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['recipe'] == 'r' and result['epochs'] == 1 and 'depth/rmse' in result['metrics']


def test_the_result_counts_what_shrinking_left(tmp_path):
    cfg = shrinking(write_base(tmp_path / 'base.pth'))
    cfg.default_hooks.result = dict(type='ResultHook', recipe='r')
    runner = train(cfg, tmp_path)
    counts = json.loads((tmp_path / 'result.json').read_text())['parameters']
    pruned = pruned_parameters(runner.model)
    assert pruned > 0 and counts['effective'] == counts['trainable'] - pruned
    assert counts['effective_without_decoder'] == counts['without_decoder'] - pruned
    # the shared path of the last fc2 has no effect, and what it keeps says nothing
    pattern = rank_pattern(runner.model)
    idle = [name for name in runner.model.backbone.unused_parameter_names() if name.endswith('.A')]
    assert idle
    for name in idle:
        del pattern[f'backbone.{name}'.removesuffix('.adapter.A')]['shared']
    ranks = [r for layer in pattern.values() for r in layer.values()]
    assert counts['mean_rank'] == pytest.approx(statistics.mean(ranks))


def test_the_result_without_adapters(tmp_path):
    cfg = tiny(train_cfg__max_epochs=1, model__backbone__plugins=[])
    cfg.default_hooks.result = dict(type='ResultHook')
    train(cfg, tmp_path)
    counts = json.loads((tmp_path / 'result.json').read_text())['parameters']
    assert counts['effective'] == counts['trainable'] and counts['mean_rank'] is None
