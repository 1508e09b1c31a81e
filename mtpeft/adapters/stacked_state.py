"""State dicts of parameters that are stacked over tasks: one key a task."""

import torch
from torch import nn


class StackedState(nn.Module):
    """Mixin: what :meth:`lane_parameters` names ``(T, ...)`` is saved as ``<name>.<task>``.

    So tasks can be loaded in any order, and a file says which task a tensor is of.
    """

    tasks: tuple[str, ...]

    def lane_parameters(self) -> dict[str, nn.Parameter]:
        """The stacked parameters ``(T, ...)`` by name."""
        raise NotImplementedError

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, stacked in self.lane_parameters().items():
            destination.pop(prefix + name)
            for index, task in enumerate(self.tasks):
                one = stacked[index]
                destination[f'{prefix}{name}.{task}'] = one if keep_vars else one.detach()

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list,
        unexpected_keys: list,
        error_msgs: list,
    ) -> None:
        stacked = {}
        for name, parameter in self.lane_parameters().items():
            keys = [f'{prefix}{name}.{task}' for task in self.tasks]
            missing_keys += [key for key in keys if key not in state_dict]
            wrong = [
                f'{key}: expected shape {tuple(parameter.shape[1:])}, '
                f'got {tuple(state_dict[key].shape)}'
                for key in keys
                if key in state_dict and state_dict[key].shape != parameter.shape[1:]
            ]
            error_msgs += wrong
            if not wrong:
                rows = [state_dict.get(key, parameter.detach()[i]) for i, key in enumerate(keys)]
                rows = [row.to(parameter) for row in rows]
                stacked[prefix + name] = torch.stack(rows) if rows else parameter.detach()
            else:
                stacked[prefix + name] = parameter.detach()
        super()._load_from_state_dict(
            {**state_dict, **stacked}, prefix, local_metadata, strict, missing_keys, [], error_msgs
        )
        if strict:
            own = {prefix + name for name in self.state_dict()}
            unexpected_keys += [k for k in state_dict if k.startswith(prefix) and k not in own]
