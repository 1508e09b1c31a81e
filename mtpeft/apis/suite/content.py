"""What a table of a suite is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mtpeft.apis.suite.columns import Table, figures_table
from mtpeft.apis.suite.significance import p_values
from mtpeft.apis.suite.state import Run
from mtpeft.apis.suite.suite import Suite
from mtpeft.apis.suite.summary import Summary, summarise


@dataclass(frozen=True)
class Content:
    """A suite, its runs, one row a method, and what is tested.

    Attributes:
        against: The method that all others are tested against; empty: no test.
        p_values: Of the others, see :func:`~mtpeft.apis.suite.significance.p_values`.
    """

    suite: Suite
    runs: Sequence[Run]
    summary: Summary
    against: str = ''
    p_values: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, suite: Suite, runs: Sequence[Run], against: str = '') -> 'Content':
        """Everything from the runs.

        Raises:
            ValueError: runs do not fit together, or cannot be tested against that method.
        """
        summary = summarise(runs)
        found = p_values(summary.rows, against) if against else {}
        return cls(suite, runs, summary, against, found)

    @property
    def figures(self) -> Table:
        """The columns that every format has."""
        return figures_table(self.summary, self.p_values, self.against)
