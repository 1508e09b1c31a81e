"""The text of a config that a checkpoint holds, read without running it.

MMEngine writes a resolved config as assignments of literals and of ``dict(...)``. That is read here
as data, by the standard library's parser.
"""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from mtpeft.checkpoints.files import CheckpointError


def read_config_text(text: str, tasks: Sequence[str] = ()) -> dict[str, Any]:
    """The values of a config that was written out.

    Its keys stand in the order of the alphabet, so an order that has a meaning has to be known from
    elsewhere.

    Args:
        text: The text, such as ``meta['cfg']``.
        tasks: Names of the tasks of the model in their order.

    Raises:
        CheckpointError: it is more than literals, or the order of named plugins is lost.

    Example:
        >>> read_config_text("model = dict(type='A', tasks=dict(a=dict(), b={}))", ['b', 'a'])
        {'model': {'type': 'A', 'tasks': {'b': {}, 'a': {}}}}
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(f'The text of its config cannot be read: {error}.') from error
    values = {}
    for statement in tree.body:
        single = isinstance(statement, ast.Assign) and len(statement.targets) == 1
        if not single or not isinstance(statement.targets[0], ast.Name):
            raise CheckpointError(
                f'The text of its config is more than values, in line {statement.lineno}.'
            )
        values[statement.targets[0].id] = _value(statement.value)
    model = values.get('model')
    if isinstance(model, Mapping):
        _set_order(model, tasks)
    return values


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
        if not node.args and all(name is not None for name, _ in pairs):
            return {name: _value(child) for name, child in pairs}
    if isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        pairs = zip(node.keys, node.values, strict=True)
        return {key.value: _value(child) for key, child in pairs}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(child) for child in node.elts]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f'The text of its config is more than values, in line {node.lineno}: '
            f'{ast.unparse(node)[:60]}.'
        ) from error


def _set_order(model: dict[str, Any], tasks: Sequence[str]) -> None:
    known = model.get('tasks')
    if isinstance(known, dict) and set(known) == set(tasks):
        model['tasks'] = {name: known[name] for name in tasks}
    plugins = (model.get('backbone') or {}).get('plugins')
    if isinstance(plugins, Mapping) and sum(value is not None for value in plugins.values()) > 1:
        raise CheckpointError('The text of its config does not keep the order of its plugins.')
