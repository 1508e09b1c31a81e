_base_ = [
    '../_base_/models/swin-pico.py',
    '../_base_/datasets/scenes_mt.py',
    '../_base_/schedules/scenes_short.py',
    '../_base_/default_runtime.py',
]

# Everything is trained; one shared backbone, a head a task.
model = dict(tasks={{_base_.tasks}}, backbone=dict(freeze=False, train_also=[]))
