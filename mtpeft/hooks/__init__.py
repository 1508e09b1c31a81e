"""Hooks of MMEngine's Runner."""

from mtpeft.hooks.checkpoint_guard_hook import CheckpointGuardHook
from mtpeft.hooks.checkpoint_hook import AdapterCheckpointHook
from mtpeft.hooks.details_hook import DetailsHook
from mtpeft.hooks.frequency_hook import FrequencyHook
from mtpeft.hooks.integrity_hook import IntegrityHook
from mtpeft.hooks.magnitude_penalty_hook import MagnitudePenaltyHook
from mtpeft.hooks.ranks.adalora import AdaLoRAHook
from mtpeft.hooks.ranks.autolora import AutoLoRAHook
from mtpeft.hooks.ranks.dylora import DyLoRAHook
from mtpeft.hooks.ranks.pdrs import PDRSHook
from mtpeft.hooks.ranks.pdrs_plus import PDRSPlusHook
from mtpeft.hooks.ranks.rank_allocator import RankAllocatorHook
from mtpeft.hooks.recipe_hook import RecipeHook
from mtpeft.hooks.reproducible_epoch_hook import ReproducibleEpochHook
from mtpeft.hooks.result_hook import ResultHook
from mtpeft.hooks.resumed_validation_hook import ResumedValidationHook
from mtpeft.hooks.save_predictions_hook import SavePredictionsHook
from mtpeft.hooks.spare_checkpoint_hook import SpareCheckpointHook
from mtpeft.hooks.summary_hook import SummaryHook
from mtpeft.hooks.sync_norm_stats_hook import SyncNormStatsHook
from mtpeft.hooks.task_gradients_hook import TaskGradientsHook
from mtpeft.hooks.unfreeze_hook import UnfreezeHook
from mtpeft.hooks.visualization_hook import PredictionGridHook

__all__ = [
    'AdaLoRAHook', 'AdapterCheckpointHook', 'AutoLoRAHook', 'CheckpointGuardHook', 'DetailsHook',
    'DyLoRAHook', 'FrequencyHook', 'IntegrityHook', 'MagnitudePenaltyHook', 'PDRSHook',
    'PDRSPlusHook', 'PredictionGridHook', 'RankAllocatorHook', 'RecipeHook',
    'ReproducibleEpochHook', 'ResultHook', 'ResumedValidationHook', 'SavePredictionsHook',
    'SpareCheckpointHook', 'SummaryHook', 'SyncNormStatsHook', 'TaskGradientsHook', 'UnfreezeHook',
]  # fmt: skip
