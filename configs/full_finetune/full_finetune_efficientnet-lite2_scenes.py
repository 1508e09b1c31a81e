_base_ = [
    '../_base_/models/efficientnet-lite2_narrow.py',
    '../_base_/datasets/scenes_mt_128.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Everything is trained; one shared backbone, a head a task.
model = dict(tasks={{_base_.tasks}}, backbone=dict(freeze=False, train_also=[]))
# no Delta_m before the baselines are measured
default_hooks = dict(checkpoint=dict(save_best=None))
