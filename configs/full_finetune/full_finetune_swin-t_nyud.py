_base_ = [
    '../_base_/models/swin-t.py',
    '../_base_/datasets/nyud_mt.py',
    '../_base_/schedules/mtlora_300e.py',
    '../_base_/default_runtime.py',
]

# Everything is trained; one shared backbone, a head a task.
model = dict(tasks={{_base_.tasks}}, backbone=dict(freeze=False, train_also=[]))
