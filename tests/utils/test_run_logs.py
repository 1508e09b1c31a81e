"""Records of a run over its starts."""

import json

from mtpeft.utils.run_logs import read_log


def test_what_a_resumed_start_did_again_counts_once_each_by_its_own_steps(tmp_path):
    """Evaluations count epochs and ranks count iterations: 3 is no iteration before 100."""
    starts = dict(
        one=[dict(iter=100, loss=3.0), dict(step=1, rmse=9.0, time=0.1),
             dict(step=100, **{'rank/mean': 8.0}),
             dict(iter=200, loss=2.0), dict(step=2, rmse=8.0), dict(step=200, **{'rank/mean': 7.0}),
             dict(iter=300, loss=1.5)],
        two=[dict(iter=250, loss=1.8), dict(step=300, **{'rank/mean': 6.0}), dict(step=2, rmse=7.0),
             dict(step=3, rmse=6.0)],
    )  # fmt: skip
    for name, records in starts.items():
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)) + '\n{"cut')
    log = read_log(tmp_path)
    assert log.curve('loss') == ([100, 200, 250], [3, 2, 1.8])
    assert log.curve('rmse') == ([1, 2, 3], [9, 7, 6])
    assert log.curve('rank/mean') == ([100, 200, 300], [8, 7, 6])
