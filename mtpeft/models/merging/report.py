"""What a merging did, layer by layer."""

from dataclasses import dataclass, field

_DONE = ('shared', 'lanes', 'shared path', 'norm', 'heads')


@dataclass
class MergeReport:
    """What was merged, and what was left and why.

    Attributes:
        rows: ``(name, adapter or norm, what was done, why not more)``. Done is ``'shared'`` (the
            layer is plain again, or as cheap as that), ``'lanes'`` (one weight for each task),
            ``'shared path'`` (lanes stay), ``'norm'`` (a BatchNorm folded into its convolution),
            ``'heads'`` (a shared base formed for each task) or ``'left'``.

    Example:
        >>> report = MergeReport([('fc', 'LoRA', 'shared', '')])
        >>> report.names('shared')
        ['fc']
    """

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, name: str, kind: str, done: str, reason: str = '') -> None:
        """Note one layer."""
        self.rows.append((name, kind, done, reason))

    def names(self, done: str) -> list[str]:
        """Names of the layers with which ``done`` was done."""
        return [row[0] for row in self.rows if row[2] == done]

    @property
    def left(self) -> dict[str, str]:
        """Why a layer was left as it is, by name."""
        return {name: reason for name, _, done, reason in self.rows if done == 'left'}

    def __str__(self) -> str:
        rows = [('layer', 'of', 'merged', 'note'), *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            '  '.join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3]]).rstrip()
            for row in rows
        ]
        counts = [f'{done}: {n}' for done in (*_DONE, 'left') if (n := len(self.names(done)))]
        return '\n'.join(['Merged adapters', *lines, ', '.join(counts) or 'nothing to merge'])
