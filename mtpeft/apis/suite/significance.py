"""Whether two rows of a table differ by more than their seeds do."""

import math
from collections.abc import Mapping, Sequence

from scipy import stats

from mtpeft.apis.suite.suite import SINGLE_TASK
from mtpeft.apis.suite.summary import Row
from mtpeft.utils.suggest import hint


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for their number: the chance of one false finding among them.

    ``p'_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))`` of the m sorted values (Holm, Scandinavian
    Journal of Statistics 6, 1979).

    Example:
        >>> holm({'a': .01, 'b': .04})
        {'a': 0.02, 'b': 0.04}
    """
    corrected, highest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.get)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


def welch(one: Sequence[float], other: Sequence[float]) -> float | None:
    """p of Welch's two-sided t-test that both have one mean.

    ``t = (m1 - m2) / sqrt(s1^2 / n1 + s2^2 / n2)``, degrees of freedom by Welch and Satterthwaite.
    It does not assume equal variances. ``None`` where it cannot be said: fewer than two values, or
    no variance at all.

    Example:
        >>> round(welch([1., 2., 3.], [4., 5., 7.]), 4)
        0.0419
    """
    if min(len(one), len(other)) < 2 or len(set(one)) == len(set(other)) == 1:
        return None
    p = float(stats.ttest_ind(one, other, equal_var=False).pvalue)
    return p if math.isfinite(p) else None


def p_values(rows: Sequence[Row], against: str) -> dict[str, float]:
    """Of each method whose Delta_m can be tested against that of the row ``against``.

    Welch's t-test over seeds, corrected by :func:`holm` for the number of rows that are tested.

    Raises:
        ValueError: there is no such method, or it has fewer than two seeds with a Delta_m.
    """
    methods = {row.label: row for row in rows if row.role != SINGLE_TASK}
    if against not in methods:
        raise ValueError(
            f"--against '{against}': expected the label of a method of the table. "
            + hint(against, methods)
        )
    reference = methods[against].delta_m
    if reference is None or len(reference.values) < 2:
        number = 0 if reference is None else len(reference.values)
        raise ValueError(
            f"--against '{against}': a test needs at least two seeds with a Δm of this row, it has "
            f'{number}. Run more (--seeds 0 1 2), or compare with another row.'
        )
    found = {
        label: welch(row.delta_m.values, reference.values)
        for label, row in methods.items() if label != against and row.delta_m is not None
    }  # fmt: skip
    return holm({label: p for label, p in found.items() if p is not None})
