"""The house as it was built: who imports whom, and what is counted in docs/design.md.

Everything is read from the source, so that an import within a function, or for a type only, counts.
"""

import ast
import re
import statistics
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from torch import nn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'mtpeft'

#: What a package may import. Each names only packages above it, so this is the order of the layers.
MAY_IMPORT = {
    'version': (),
    'utils': (),
    'registry': ('utils',),
    'tasks': ('registry', 'utils'),
    'structures': ('utils',),
    'ops': ('structures', 'utils'),
    'adapters': ('ops', 'structures', 'tasks', 'registry', 'utils'),
    'transforms': ('structures', 'tasks', 'registry', 'utils'),
    'datasets': ('transforms', 'structures', 'tasks', 'registry', 'utils'),
    'evaluation': ('structures', 'tasks', 'registry', 'utils'),
    'models': ('adapters', 'ops', 'structures', 'tasks', 'registry', 'utils'),
    'checkpoints': ('adapters', 'registry', 'utils'),
    'converters': ('checkpoints', 'utils'),
    'optim': ('adapters', 'registry', 'utils'),
    'visualization': (
        'models', 'evaluation', 'adapters', 'structures', 'tasks', 'registry', 'utils',
    ),
    'hooks': (
        'visualization', 'optim', 'converters', 'checkpoints', 'models', 'evaluation', 'adapters',
        'registry', 'utils',
    ),
    'benchmark': (
        'optim', 'models', 'adapters', 'ops', 'structures', 'tasks', 'registry', 'utils',
    ),
    'export': ('benchmark', 'models', 'datasets', 'ops', 'tasks', 'utils', 'version'),
    'apis': (
        'hooks', 'visualization', 'optim', 'converters', 'checkpoints', 'models', 'evaluation',
        'datasets', 'adapters', 'structures', 'tasks', 'registry', 'utils', 'version',
    ),
    'report': (
        'apis', 'visualization', 'checkpoints', 'evaluation', 'adapters', 'structures', 'tasks',
        'registry', 'utils', 'version',
    ),
    'cli': (
        'report', 'apis', 'export', 'benchmark', 'hooks', 'visualization', 'checkpoints', 'models',
        'evaluation', 'datasets', 'adapters', 'structures', 'tasks', 'registry', 'utils', 'version',
    ),
    '__main__': ('cli',),
}  # fmt: skip

STREAMS = PACKAGE / 'models/backbones/streams/__init__.py'
TORCH_PRIVATE = PACKAGE / 'utils/torch_private.py'
#: names that torch does not promise to keep, beside its modules with an underscore
PRIVATE = {'_functorch', '_compiled_call_impl', '_per_optimizer_states'}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts).removesuffix('.__init__')


def where(path: Path, node: ast.AST) -> str:
    return f'{path.relative_to(ROOT)}:{node.lineno}'


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob('*.py'))}
TREES = {path: ast.parse(path.read_text(encoding='utf-8')) for path in MODULES.values()}


def nodes(kind: type) -> Iterator[tuple[Path, ast.AST]]:
    """All nodes of a kind in the package, with their files."""
    for path, tree in TREES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, kind))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The modules of the package that a file imports, with their lines."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{where(path, node)}: write the whole name of the module'
            whole = [f'{node.module}.{alias.name}' for alias in node.names]
            names = [name if name in MODULES else node.module for name in whole]
        else:
            continue
        yield from ((n, node.lineno) for n in names if n.split('.')[0] == 'mtpeft')


def top(module: str) -> str:
    """``'mtpeft.models.necks'`` -> ``'models'``."""
    return module.split('.')[1] if '.' in module else ''


# -- who imports whom ----------------------------------------------------------------------------


def test_the_table_names_every_package_in_the_order_of_its_layers():
    found = {p.stem for p in PACKAGE.glob('*.py')} | {p.parent.name for p in PACKAGE.glob('*/*.py')}
    assert set(MAY_IMPORT) == found - {'__init__'}
    above: list[str] = []
    for package, allowed in MAY_IMPORT.items():
        assert set(allowed) <= set(above), f'{package} may import what is not below it'
        above.append(package)


def test_the_documentation_has_the_same_table():
    text = (ROOT / 'docs/design.md').read_text(encoding='utf-8').split('\n## ')[1]
    rows = re.findall(r'^\| `(\w+)` \| [^|]+ \|([^|]*)\|$', text, flags=re.M)
    known = {'version', 'utils', 'registry', '__main__'}  # which the page leaves out
    expected = {name: set(allowed) - known for name, allowed in MAY_IMPORT.items()}
    found = {name: set(filter(None, cell.strip().split(', '))) for name, cell in rows}
    left_out = {'version', '__main__'}
    assert found == {name: cell for name, cell in expected.items() if name not in left_out}
    assert list(found) == [name for name in MAY_IMPORT if name in found]


@pytest.mark.parametrize('package', MAY_IMPORT)
def test_a_package_imports_only_what_the_table_allows(package):
    allowed = {package, *MAY_IMPORT[package]}
    wrong = [
        f'{path.relative_to(ROOT)}:{line} imports {module}'
        for name, path in MODULES.items()
        if top(name) == package
        for module, line in imports(path)
        if top(module) not in allowed
    ]
    assert not wrong, '\n'.join(wrong)


def test_no_module_imports_what_imports_it():
    graph = {name: {module for module, _ in imports(path)} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail('a circle of imports: ' + ' <- '.join(error.args[1]))


# -- sizes ---------------------------------------------------------------------------------------


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding='utf-8').splitlines())


def test_the_room_of_the_methods_is_not_crowded():
    assert len(list((PACKAGE / 'adapters').glob('*.py'))) <= 26


def test_the_backbone_is_cut_apart():
    assert lines_of(PACKAGE / 'models/backbones/adapter_backbone.py') <= 300


def docstring_lines(function: ast.AST) -> int:
    return sum(
        node.body[0].end_lineno - node.body[0].lineno + 1
        for node in ast.walk(function)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node)
    )


def test_no_function_is_longer_than_a_screen():
    lengths = {
        f'{where(path, node)} {node.name}':
            node.end_lineno - node.lineno + 1 - docstring_lines(node)
        for path, node in nodes(ast.FunctionDef | ast.AsyncFunctionDef)
    }  # fmt: skip
    long = {name: length for name, length in lengths.items() if length > 50}
    assert not long, long


def test_a_config_says_what_differs():
    leaves = [
        path
        for path in (ROOT / 'configs').rglob('*.py')
        if not {'_base_', 'suites'} & set(path.parts)
    ]
    lengths = list(map(lines_of, leaves))
    assert statistics.median(lengths) <= 10
    assert sum(lengths) <= 2000


# -- the contract of a method --------------------------------------------------------------------


def family_of(name: str) -> list[ast.ClassDef]:
    """A class of the package and its bases that are of the package too."""
    found = [node for _, node in nodes(ast.ClassDef) if node.name == name]
    return found + [
        base
        for node in found
        for expression in node.bases
        for base in family_of(ast.unparse(expression).split('.')[-1])
    ]


def test_an_adapter_has_few_members():
    body = [node for owner in family_of('Adapter') for node in owner.body]
    methods = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    flags = {
        target.id
        for node in body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    public = {
        kind: sorted(name for name in names if name[0] != '_' and not hasattr(nn.Module, name))
        for kind, names in dict(methods=methods, flags=flags).items()
    }
    assert public['methods'], 'the class was not found'
    assert len(public['methods']) <= 15, public['methods']
    assert len(public['flags']) <= 3, public['flags']


def methods_and_files() -> dict[str, Path]:
    """The registered adapter classes, and where each is."""
    return {
        node.name: path
        for path, node in nodes(ast.ClassDef)
        if any('ADAPTERS.register_module' in ast.unparse(d) for d in node.decorator_list)
    }


def test_nobody_asks_which_method_an_adapter_is_of():
    known = methods_and_files()
    assert len(known) > 10
    wrong = [
        f'{where(path, node)}: {ast.unparse(node)}'
        for path, node in nodes(ast.Call)
        if isinstance(node.func, ast.Name)
        and node.func.id in ('isinstance', 'issubclass')
        and any(
            isinstance(part, ast.Name) and known.get(part.id, path) != path
            for part in ast.walk(node.args[1])
        )
    ]
    assert not wrong, '\n'.join(wrong)


def test_nobody_asks_which_streams_a_backbone_has():
    wrong = [
        f'{where(path, node)}: {ast.unparse(node)}'
        for path, node in nodes(ast.Compare)
        if path != STREAMS
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(
            ast.unparse(side).split('.')[-1] == 'streams'
            for side in (node.left, *node.comparators)
        )
    ]  # fmt: skip
    assert not wrong, '\n'.join(wrong)


# -- what is not ours ----------------------------------------------------------------------------


def is_private(node: ast.AST) -> bool:
    """A name that torch may take away without a word."""
    if isinstance(node, ast.Import):
        return any(alias.name.startswith('torch._') for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        module = node.module or ''
        return module.startswith('torch._') or (
            module == 'torch' and any(alias.name.startswith('_') for alias in node.names)
        )
    if not isinstance(node, ast.Attribute):
        return False
    of_torch = isinstance(node.value, ast.Name) and node.value.id == 'torch'
    return node.attr in PRIVATE or (of_torch and node.attr[0] == '_' and node.attr[:2] != '__')


def test_private_names_of_torch_are_in_one_file():
    wrong = [
        f'{where(path, node)}: {ast.unparse(node)}'
        for path, node in nodes(ast.Attribute | ast.Import | ast.ImportFrom)
        if path != TORCH_PRIVATE and is_private(node)
    ]
    assert not wrong, '\n'.join(wrong)
