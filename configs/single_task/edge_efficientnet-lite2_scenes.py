# One full network for one task: the baseline of Delta_m.
_base_ = '../full_finetune/full_finetune_efficientnet-lite2_scenes.py'
tasks = dict(
    _delete_=True, edge=dict(metric=dict(type='EdgeMetric', max_dist=0.0113, thresholds=19))
)
model = dict(tasks=tasks)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(tasks=tasks))
val_evaluator = test_evaluator = dict(tasks=tasks, baselines=None)
default_hooks = dict(checkpoint=dict(save_best='edge/odsF', rule='greater'))
