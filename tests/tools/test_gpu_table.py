"""gpu.sh on a machine without a GPU: what it found is said, also of parts that failed."""

import json

from helpers.engine import call_tool

TESTS = """<testsuites><testsuite>
<testcase classname="gpu.test_runs" name="test_hooks[EMA]"/>
<testcase classname="gpu.test_runs" name="test_nccl_on_one_card"><failure/></testcase>
<testcase classname="gpu.test_runs" name="test_a_compiled_run"><skipped/></testcase>
</testsuite></testsuites>"""


def test_every_part_is_in_the_table(tmp_path, capsys):
    (tmp_path / 'parts.txt').write_text('tests 1 33\nspeed 0 41\nloader 124 60\n')
    (tmp_path / 'tests.xml').write_text(TESTS)
    rows = {
        'reference: step': dict(
            ratio=dict(median=1.0), pictures_per_second=41.5, memory=dict(peak_mb=20123.4)
        ),
        'mtlora: step': dict(memory=dict(peak_mb=100.0)),
    }
    (tmp_path / 'speed.json').write_text(json.dumps(dict(sizes=[dict(rows=rows)])))
    call_tool('tools/benchmark/gpu_table.py', tmp_path)
    text = (tmp_path / 'gpu.md').read_text()
    assert text == capsys.readouterr().out
    assert '* tests: failed, 33 s' in text and '* loader: cut off by its time, 60 s' in text
    assert '1 passed, 1 skipped, 1 failed gpu.test_runs::test_nccl_on_one_card' in text.replace(
        'tests passed', 'passed'
    )
    assert '| reference: step | 41.5 | 1.00 | 20,123 |' in text
    assert '| mtlora: step | - | - | 100 |' in text
    assert json.loads((tmp_path / 'gpu.json').read_text())['parts']['loader']['status'] == 124


def test_without_any_part(tmp_path):
    (tmp_path / 'parts.txt').write_text('')
    call_tool('tools/benchmark/gpu_table.py', tmp_path)
    assert json.loads((tmp_path / 'gpu.json').read_text())['speed'] is None
