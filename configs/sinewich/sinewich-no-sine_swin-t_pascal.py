# Ablation "w/o Sine", in the adapters and in the decoder: frequencies only scale the base.
_base_ = './sinewich-r64_swin-t_pascal.py'
model = dict(
    backbone=dict(plugins=dict(lanes=dict(cfg=dict(sine=False)))), decoder=dict(sine=False)
)
