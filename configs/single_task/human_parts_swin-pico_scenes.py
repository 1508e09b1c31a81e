# One full network for one task: the baseline of Delta_m.
_base_ = '../full_finetune/full_finetune_swin-pico_scenes.py'
tasks = dict(_delete_=True, human_parts=dict())
model = dict(tasks=tasks)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(tasks=tasks))
val_evaluator = test_evaluator = dict(tasks=tasks, baselines=None)
default_hooks = dict(checkpoint=dict(save_best='human_parts/mIoU', rule='greater'))
