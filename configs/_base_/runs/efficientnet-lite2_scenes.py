# EfficientNet-Lite2 with narrow heads on the embedded scenes at 128 x 128.
_base_ = [
    '../models/efficientnet-lite2_narrow.py',
    '../datasets/scenes_mt_128.py',
    '../schedules/scenes_short.py',
    '../default_runtime.py',
]
model = dict(tasks={{_base_.tasks}})
# no Delta_m before the baselines are measured
default_hooks = dict(checkpoint=dict(save_best=None))
