"""The page that stands beside a saved model: what it does, was made of, and how it is used."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from mtpeft.adapters import Adapter
from mtpeft.checkpoints.plain_config import KEY
from mtpeft.models.components import trainable_parameters

_CARD = """---
library_name: mtpeft
tags: [mtpeft, multi-task, dense-prediction]
license: {licence}
---

# {name}

A model of mtpeft, parameter-efficient multi-task fine-tuning for dense prediction: {kind}.

## How to use

```python
{usage}
```

## What it is

{facts}
{tasks}{metrics}"""


def model_card(
    model: nn.Module,
    meta: Mapping[str, Any],
    name: str,
    data: str = '',
    metrics: Mapping[str, float] | None = None,
    licence: str = '',
) -> str:
    """A card in Markdown, with the fields of the Hugging Face hub at its head.

    Args:
        model: The model.
        meta: Metadata of its file, see :func:`~mtpeft.apis.shared_file.file_of`.
        name: What it is called.
        data: What it was trained on.
        metrics: Results by name.
        licence: Of the weights.
    """
    trained, total = trainable_parameters(model)
    merged = 'merged' in meta
    facts = {
        'trained on': data or 'not said',
        'parameters': f'{total:,}' if merged else f'{trained:,} trained of {total:,}',
        'base': _base(meta),
        'adapters': ', '.join(_methods(model)) or 'none',
        'licence of the weights': licence or 'not said',
        'written by': f'mtpeft {meta["mtpeft_version"]}',
    }
    return _CARD.format(
        name=name,
        licence=licence or 'unknown',
        usage=_usage(model, meta, name),
        kind='adapters merged, for inference only' if merged else 'adapters on a frozen base',
        facts=_table(('', ''), facts.items()),
        tasks=_tasks(model),
        metrics=_metrics(metrics or {}),
    )


def _usage(model: nn.Module, meta: Mapping[str, Any], name: str) -> str:
    """How the model is loaded and called."""
    if hasattr(model, 'test_options'):
        return (
            'import mtpeft\nfrom mtpeft.apis import MultiTaskInferencer\n\n'
            f"model = mtpeft.from_pretrained('{name}')\n"
            "predictions = MultiTaskInferencer(model)('picture.jpg')"
        )
    own = meta[KEY]['model'].get('network', '') is None
    base = ', base=network)  # the network that it was made for' if own else ')'
    return f"import mtpeft\n\nmodel = mtpeft.from_pretrained('{name}'{base}"


def _base(meta: Mapping[str, Any]) -> str:
    if 'merged' in meta:
        return 'inside the file'
    bases = [
        f'`{base["type"]}`, weights `{base["weights"]}`, sha256 `{base["sha256"][:12]}`'
        for base in meta.get('base', {}).values()
    ]
    return '; '.join(bases) or 'inside the file'


def _methods(model: nn.Module) -> list[str]:
    return sorted({type(m).__name__ for m in model.modules() if isinstance(m, Adapter)})


def _tasks(model: nn.Module) -> str:
    tasks = getattr(model, 'tasks', None)
    if not isinstance(tasks, Mapping):
        return ''
    rows = [
        (name, task.kind, task.channels, task.unit or '') for name, task in tasks.items()
    ]  # fmt: skip
    return '\n## Tasks\n\n' + _table(('task', 'kind', 'channels', 'unit'), rows)


def _metrics(metrics: Mapping[str, float]) -> str:
    if not metrics:
        return ''
    rows = [(name, f'{value:.4g}') for name, value in metrics.items()]
    return '\n## Results\n\n' + _table(('metric', 'value'), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return ''.join(f'| {" | ".join(map(str, line))} |\n' for line in lines)
