# Compacter++: only after the MLP of every block.
_base_ = './compacter_swin-t_pascal.py'
model = dict(backbone=dict(plugins=dict(shared=dict(targets=['fc2']))))
