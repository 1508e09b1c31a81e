"""Writes ``configs/*/metafile.yml``, ``model-index.yml`` and ``docs/model_zoo.md``.

    python docs/write_model_zoo.py

What a config is follows from its name (``<method>[-<variant>]_<backbone>_<data set>``); metrics and
parameters are those that docs/benchmarks.md and docs/parameters.md print. A test compares the files
with what this script would write.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
#: folders of configs: name, paper (title, arXiv id) and page
METHODS = {
    'adalora': ('AdaLoRA', '2303.10512', 'docs/methods/adalora.md'),
    'adapter': ('Adapter', '1902.00751', 'docs/methods/adapter.md'),
    'autolora': ('AutoLoRA', '2403.09113', 'docs/methods/autolora.md'),
    'bitfit': ('BitFit', '2106.10199', 'docs/methods/bitfit.md'),
    'compacter': ('Compacter', '2106.04647', 'docs/methods/compacter.md'),
    'decoders_only': ('Decoders only', None, 'docs/choose.md'),
    'ditask': ('DiTASK', '2502.06029', 'docs/methods/ditask.md'),
    'dylora': ('DyLoRA', '2210.07558', 'docs/methods/dylora.md'),
    'faar': ('FAAR', '2603.20403', 'docs/methods/faar.md'),
    'full_finetune': ('Full fine-tuning', None, 'docs/choose.md'),
    'hyperformer': ('HyperFormer', '2106.04489', 'docs/methods/hyperformer.md'),
    'lora': ('LoRA', '2106.09685', 'docs/configs.md'),
    'mtlora': ('MTLoRA', '2403.20320', 'docs/configs.md'),
    'polyhistor': ('Polyhistor', '2210.03265', 'docs/methods/polyhistor.md'),
    'sine-lora': ('Sine-LoRA', '2403.19243', 'docs/methods/sine_lora.md'),
    'sinewich': ('Free Sinewich', '2603.21111', 'docs/methods/sinewich.md'),
    'single_task': ('Single task', None, 'docs/choose.md'),
    'tadformer': ('TADFormer', '2501.04293', 'docs/methods/tadformer.md'),
    'union': ('Union', None, 'docs/methods/sinewich.md'),
    'vl-adapter': ('VL-Adapter', '2112.06825', 'docs/methods/vl_adapter.md'),
    'vpt': ('VPT', '2203.12119', 'docs/methods/vpt.md'),
}
BACKBONES = {
    'swin-t': 'Swin-T', 'swin-b': 'Swin-B', 'swin-pico': 'Swin, embed 20', 'vit-b': 'ViT-B/16',
    'convnext-t': 'ConvNeXt-T', 'pvt-v2-b2': 'PVT v2 B2',
    'efficientnet-lite2': 'EfficientNet-Lite2',
}  # fmt: skip
DATA = {
    'pascal': ('PASCAL-Context', ('semseg', 'human_parts', 'sal', 'normals')),
    'nyud': ('NYUDv2', ('semseg', 'depth', 'normals')),
    'scenes': ('scenes', ('semseg', 'human_parts', 'sal', 'normals', 'depth', 'edge')),
}
METRICS = {
    'semseg': 'mIoU', 'human_parts': 'mIoU', 'sal': 'mIoU', 'normals': 'mean_angle',
    'depth': 'rmse', 'edge': 'odsF',
}  # fmt: skip
#: decimals in the table, where they are not two
DIGITS = {'depth': 3}
#: tables of docs/benchmarks.md: the text before each, and what follows a label in a config's name
TABLES = (
    ('## Scenes', 'swin-pico_scenes'),
    ('FAAR and Free Sinewich with the defaults of today', 'swin-pico_scenes'),
    ('## NYUDv2', 'efficientnet-lite2_nyud'),
)
#: models that ship with mtpeft
SHIPPED = {'faar-long_efficientnet-lite2_scenes': 'mtpeft:faar_efficientnet-lite2_scenes'}


class Entry(NamedTuple):
    """A config: where it is, and what its name says."""

    folder: str
    name: str
    backbone: str
    data: str
    tasks: tuple[str, ...]


def entries() -> list[Entry]:
    """All configs that can be run, in the order of their paths."""
    return [
        entry(folder, path.stem)
        for folder in METHODS
        for path in sorted((ROOT / 'configs' / folder).glob('*.py'))
    ]


def entry(folder: str, name: str) -> Entry:
    """What the name of a config says."""
    method, backbone, data = name.rsplit('_', 2)
    tasks = DATA[data.split('-')[0]][1]
    if folder == 'single_task':
        tasks = (method,)
    return Entry(folder, name, backbone, data.split('-')[0], tasks)


def cells(line: str) -> list[str]:
    """Cells of a row of a table, without footnotes."""
    return [re.sub(r'\[\^[\w-]+\]', '', cell).strip() for cell in line.strip('| ').split('|')]


def rows(page: str, after: str) -> list[dict[str, str]]:
    """The first table behind a text, a dict by the first word of each heading."""
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    table = re.search(r'(?:^\|.*\n)+', text[text.index(after) :], flags=re.MULTILINE)[0]
    head, _, *body = table.splitlines()
    names = [cell.split(' ')[0] for cell in cells(head)]
    return [dict(zip(names, cells(line), strict=True)) for line in body]


def results() -> dict[str, dict[str, float]]:
    """Metrics by the name of a config, as docs/benchmarks.md prints them."""
    found: dict[str, dict[str, float]] = {}
    for after, ending in TABLES:
        for row in rows('benchmarks.md', after):
            label = row['method'].removesuffix(' (margin 1)')
            values = {t: float(row[t]) for t in METRICS if t in row}
            if label == 'single_task':
                found |= {f'{t}_{ending}': {t: value} for t, value in values.items()}
            else:
                found.setdefault(f'{label}_{ending}', values)
    return found


def parameters() -> dict[str, float]:
    """Trainable parameters in millions by the name of a config, as printed in the docs."""
    text = (ROOT / 'docs/parameters.md').read_text(encoding='utf-8')
    found = re.findall(r'^\| `[\w-]+/([\w.-]+)\.py`.*?\| (\d+\.\d+)M \|', text, flags=re.MULTILINE)
    counts = {name: float(millions) for name, millions in found}
    for after, ending in TABLES:
        for row in rows('benchmarks.md', after):
            label, number = row['method'].removesuffix(' (margin 1)'), row['trainable']
            if label != 'single_task':  # (that row is the sum over the tasks)
                exact = float(number.replace(',', ''))
                counts.setdefault(
                    f'{label}_{ending}', round(exact / 1e6 if ',' in number else exact, 3)
                )
    return counts


def model(found: Entry, metrics: dict[str, float] | None, count: float | None) -> dict[str, Any]:
    """The entry of a config in its metafile."""
    config = f'configs/{found.folder}/{found.name}.py'
    collection = METHODS[found.folder][0]
    out: dict[str, Any] = {'Name': found.name, 'In Collection': collection, 'Config': config}
    out['Metadata'] = {'Backbone': BACKBONES[found.backbone], 'Tasks': list(found.tasks)}
    if count is not None:
        out['Metadata']['Trainable parameters (M)'] = count
    dataset = DATA[found.data][0]
    if metrics:
        out['Results'] = [
            {'Task': task, 'Dataset': dataset, 'Metrics': {METRICS[task]: value}}
            for task, value in metrics.items()
        ]
    else:
        out['Metadata']['Training Data'] = dataset
    if found.name in SHIPPED:
        out['Weights'] = SHIPPED[found.name]
    return out


def metafiles() -> dict[str, str]:
    """Texts of all metafiles by their path."""
    metrics, counts = results(), parameters()
    texts = {}
    for folder, (name, paper, page) in METHODS.items():
        collection: dict[str, Any] = {'Name': name, 'README': page}
        if paper:
            collection['Paper'] = {'Title': name, 'URL': f'https://arxiv.org/abs/{paper}'}
        models = [
            model(found, metrics.get(found.name), counts.get(found.name))
            for found in entries()
            if found.folder == folder
        ]
        content = {'Collections': [collection], 'Models': models}
        texts[f'configs/{folder}/metafile.yml'] = yaml.safe_dump(content, sort_keys=False)
    texts['model-index.yml'] = yaml.safe_dump({'Import': sorted(texts)}, sort_keys=False)
    return texts


PAGE = """# Model zoo

This page lists every config with a measured result, its parameters, and the file of a model that
ships. Use it to find a config to start from; [Configs](configs.md) lists all of them. The runs
behind it take minutes to an hour on a CPU; [Results](benchmarks.md) has how each was measured. Only
one trained model ships with mtpeft. Any row is made again by its name:

```bash
mtpeft train mtlora_swin-pico_scenes
```

`metafile.yml` beside the configs has the same figures for tools. The log of a run is in its work
dir. Trainable parameters are in millions, before an allocator removes any.

{table}
`python docs/write_model_zoo.py` writes this page and the metafiles from [Results](benchmarks.md)
and [Parameters](parameters.md).
"""


def page() -> str:
    """The text of docs/model_zoo.md."""
    metrics, counts = results(), parameters()
    parts = []
    for data, (title, tasks) in DATA.items():
        wanted = {*metrics, *SHIPPED}
        named = [f for f in entries() if f.data == data and f.name in wanted]
        if not named:
            continue
        heads = [f'{task} {METRICS[task]}' for task in tasks]  # as in docs/benchmarks.md
        lines = [f'## {title}', '', f'| config | {" | ".join(heads)} | trainable | file |']
        lines.append('|---|' + '---:|' * (len(heads) + 1) + '---|')
        for f in named:
            known = metrics.get(f.name, {})
            values = [f'{known[t]:.{DIGITS.get(t, 2)}f}' if t in known else '' for t in tasks]
            file = f'`{SHIPPED[f.name]}`' if f.name in SHIPPED else ''
            count = counts.get(f.name)
            shown = '' if count is None else f'{count:.3f}'
            lines.append(f'| `{f.name}` | {" | ".join(values)} | {shown} | {file} |')
        parts.append('\n'.join(lines) + '\n')
    return PAGE.format(table='\n'.join(parts))


def texts() -> dict[str, str]:
    """Everything that this script writes, by path."""
    return {**metafiles(), 'docs/model_zoo.md': page()}


if __name__ == '__main__':
    for path, text in texts().items():
        (ROOT / path).write_text(text, encoding='utf-8')
