"""What gpu.sh found, as one JSON and one table: ``python tools/benchmark/gpu_table.py OUT``."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch


def parts_of(out: Path) -> dict[str, dict]:
    """Exit status and seconds of each part; 124 is one that took too long."""
    rows = [line.split() for line in (out / 'parts.txt').read_text().splitlines()]
    return {name: dict(status=int(status), seconds=int(took)) for name, status, took in rows}


def tests_of(out: Path) -> dict | None:
    """How many tests passed, were skipped, failed; the names of those that failed."""
    path = out / 'tests.xml'
    if not path.is_file():
        return None
    cases = list(ElementTree.parse(path).iter('testcase'))
    failed = [c for c in cases if c.find('failure') is not None or c.find('error') is not None]
    skipped = sum(case.find('skipped') is not None for case in cases)
    return dict(
        passed=len(cases) - len(failed) - skipped, skipped=skipped,
        failed=[f'{case.get("classname")}::{case.get("name")}' for case in failed],
    )  # fmt: skip


def speed_of(out: Path) -> dict | None:
    path = out / 'speed.json'
    return json.loads(path.read_text()) if path.is_file() else None


def rows_of(speed: dict) -> list[list[str]]:
    """A row for each call: pictures a second, ratio, memory of a step."""
    rows = []
    for name, row in speed['sizes'][0]['rows'].items():
        memory = row.get('memory', {}).get('peak_mb')
        rows.append(
            [
                name,
                f'{row["pictures_per_second"]:.1f}' if 'ratio' in row else '-',
                f'{row["ratio"]["median"]:.2f}' if 'ratio' in row else '-',
                f'{memory:,.0f}' if memory else '-',
            ]
        )
    return rows


def main() -> None:
    out = Path(sys.argv[1])
    parts, tests, speed = parts_of(out), tests_of(out), speed_of(out)
    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'no GPU'
    log = out / 'loader.log'
    loader = log.read_text() if log.is_file() else ''
    found = dict(device=card, torch=torch.__version__, cuda=torch.version.cuda, parts=parts,
                 tests=tests, speed=speed, loader=loader)  # fmt: skip
    (out / 'gpu.json').write_text(json.dumps(found, indent=2))
    text = [f'{card}, torch {torch.__version__}, CUDA {torch.version.cuda}', '']
    for name, part in parts.items():
        said = {0: 'done', 124: 'cut off by its time'}.get(part['status'], 'failed')
        text.append(f'* {name}: {said}, {part["seconds"]} s (`{name}.log`)')
    if tests:
        text.append(f'* {tests["passed"]} tests passed, {tests["skipped"]} skipped, '
                    f'{len(tests["failed"])} failed {", ".join(tests["failed"])}')  # fmt: skip
    if speed:
        header = ['448 x 448, batch 32, bf16', 'pictures/s', 'ratio', 'peak MB']
        rows = [header, ['---'] * len(header), *rows_of(speed)]
        text += ['', *(f'| {" | ".join(row)} |' for row in rows)]
    (out / 'gpu.md').write_text('\n'.join(text) + '\n')
    print('\n'.join(text))


if __name__ == '__main__':
    main()
