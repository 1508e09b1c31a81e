# The small Swin on the embedded scenes.
_base_ = [
    '../models/swin-pico.py',
    '../datasets/scenes_mt.py',
    '../schedules/scenes_short.py',
    '../default_runtime.py',
]
model = dict(tasks={{_base_.tasks}})
