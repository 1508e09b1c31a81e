# Compacter++: only after the MLP of every block.
_base_ = './compacter_swin-pico_scenes.py'
model = dict(backbone=dict(plugins=dict(shared=dict(targets=['fc2']))))
