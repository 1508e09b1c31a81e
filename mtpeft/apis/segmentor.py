"""Models that are no MultiTaskModel, such as a segmentor of mmsegmentation with our backbone."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import init_default_scope
from torch import nn

from mtpeft.models.merging.report import MergeReport
from mtpeft.models.merging.swaps import Merging
from mtpeft.registry import MODELS

OURS = 'mtpeft'


def build_model(cfg: Config, **given: Any) -> nn.Module:
    """The model of a config in the scope that the config says, ours by default.

    Args:
        cfg: A config with ``model`` and, if it is another than ours, ``default_scope``.
        **given: Options of the model that no config has, such as a network.
    """
    scope = cfg.get('default_scope') or OURS
    init_default_scope(scope)
    return (MODELS if scope == OURS else ROOT).build({**cfg.model, **given} if given else cfg.model)


def merge_parts(model: nn.Module) -> MergeReport:
    """Merge a model for good, or of one that is no MultiTaskModel, the parts that can be.

    Raises:
        ValueError: it has none.
    """
    if isinstance(model, Merging):
        return model.merge_adapters(reversible=False)
    report = MergeReport()
    for name, module in list(model.named_modules()):
        if isinstance(module, Merging):
            rows = module.merge_adapters(reversible=False).rows
            report.rows += [(f'{name}.{row[0]}', *row[1:]) for row in rows]
    if not report.rows:
        raise ValueError(
            f'{type(model).__name__} has no part with adapters, expected an AdapterBackbone in it.'
        )
    model.eval()
    return report


def merged_rows(model: nn.Module) -> list[tuple]:
    """What was merged of a model or of its parts, as rows of a report; none of one that is not.

    Raises:
        ValueError: a part of a model is merged, and the rest is not.
    """
    if isinstance(model, Merging):
        if model.merged:
            return model.merge_report.rows
        parts = [n for n, m in model.named_modules() if isinstance(m, Merging) and m.merged]
        if parts:
            raise ValueError(
                f"'{parts[0]}' of {type(model).__name__} is merged, and the rest is not. Merge the "
                'whole (model.merge_adapters()), or take it back (unmerge_adapters()).'
            )
        return []
    return [
        (f'{name}.{row[0]}', *row[1:])
        for name, module in model.named_modules()
        if isinstance(module, Merging) and module.merged
        for row in module.merge_report.rows
    ]


def tell_data_set(model: nn.Module, saved: Mapping[str, Any] | None) -> None:
    """Let a segmentor know the names and colours of its classes, which drawings of mmseg need."""
    meta = ((saved or {}).get('meta') or {}).get('dataset_meta')
    if meta is not None and not hasattr(model, 'dataset_meta'):
        model.dataset_meta = meta
