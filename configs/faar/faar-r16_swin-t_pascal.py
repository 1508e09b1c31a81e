# FAAR with initial rank 16.
_base_ = './faar_swin-t_pascal.py'
model = dict(
    backbone=dict(plugins=dict(shared=dict(cfg=dict(rank=16)), lanes=dict(cfg=dict(rank=16))))
)
