# FAAR with initial rank 32.
_base_ = './faar_swin-t_nyud.py'
model = dict(
    backbone=dict(plugins=dict(shared=dict(cfg=dict(rank=32)), lanes=dict(cfg=dict(rank=32))))
)
