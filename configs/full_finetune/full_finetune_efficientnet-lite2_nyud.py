_base_ = [
    '../_base_/models/efficientnet-lite2.py',
    '../_base_/datasets/nyud_mt_small.py',
    '../_base_/schedules/nyud_short.py',
    '../_base_/default_runtime.py',
]

# Everything is trained; one shared backbone, a head a task.
model = dict(tasks={{_base_.tasks}}, backbone=dict(freeze=False, train_also=[]))
