"""against_reference.py measures every variant in one run."""

import json

import pytest
from helpers.engine import call_tool

TOOL = 'tools/benchmark/against_reference.py'
TINY = (
    '--sizes', 64, '--batch-size', 1, '--rank', 4, '--device', 'cpu', '--cfg-options',
    'model.backbone.backbone.embed_dim=24', 'model.backbone.backbone.window_size=2',
)  # fmt: skip


def test_ratios_of_one_run(tmp_path, capsys):
    out = tmp_path / 'result.json'
    options = ('--no-memory', '--rounds', 1, '--warmup', 0, '--variants', 'mtlora', 'faar')
    call_tool(TOOL, *options, '--json', out, *TINY)
    result = json.loads(out.read_text())
    (found,) = result['sizes']
    rows = found['rows']
    assert result['rounds'] == 1 and found['size'] == 64
    for variant in ('reference', 'mtlora', 'faar'):
        for what in ('step', 'inference'):
            row = rows[f'{variant}: {what}']
            assert row['ratio']['low'] <= row['ratio']['median'] <= row['ratio']['high']
            assert row['pictures_per_second'] == pytest.approx(1 / row['seconds']['median'])
            assert row['multiply_adds'] > 0
    assert rows['reference: step']['ratio']['median'] == 1
    assert rows['reference: step']['multiply_adds'] > rows['reference: inference']['multiply_adds']
    # every call is measured, or the reason is given
    kinds = ('step', 'inference', 'merged inference')
    wanted = {f'{v}: {kind}' for v in ('mtlora', 'faar') for kind in kinds}
    wanted |= {f'{v}: {kind}' for v in ('mtlora', 'faar without XT-Cons')
               for kind in ('one task', 'one task merged')}  # fmt: skip
    wanted |= {'reference: step', 'reference: inference', 'frozen: one task'}
    assert {*rows, *found['skipped']} == wanted
    assert {'mtlora', 'faar'} <= set(found['merged_difference'])
    assert all(error < 1e-4 for error in found['merged_difference'].values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)


def test_memory_of_a_call_is_told_by_a_process_of_its_own(capsys):
    words = ('--variants', 'mtlora', '--memory-of', 'reference: step', *TINY)
    call_tool(TOOL, *words)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found['peak_mb'] == pytest.approx(found['held_mb'] + found['above_mb'])
    assert found['above_mb'] >= 0 and found['source']


def test_an_unknown_variant_is_refused(capsys):
    with pytest.raises(SystemExit):
        call_tool(TOOL, '--variants', 'mtlor')
    assert 'mtlor' in capsys.readouterr().err
