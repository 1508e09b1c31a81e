# EfficientNet-Lite2 on the embedded scenes at 128 x 128, with heads of about half the width.
_base_ = [
    '../models/efficientnet-lite2.py',
    '../datasets/scenes_mt_128.py',
    '../schedules/scenes_short.py',
    '../default_runtime.py',
]
model = dict(tasks={{_base_.tasks}}, decoder=dict(head=dict(channels=144)))
# no Delta_m before the baselines are measured
default_hooks = dict(checkpoint=dict(save_best=None))
