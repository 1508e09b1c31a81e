# Compacter++: only after the MLP of every block.
_base_ = './compacter_swin-t_nyud.py'
model = dict(backbone=dict(plugins=dict(shared=dict(targets=['fc2']))))
