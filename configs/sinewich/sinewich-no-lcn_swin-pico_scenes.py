# Ablation "w/o LCN": each task learns its frequency itself, without Clock Net; task tokens still go
# through the network.
_base_ = './sinewich_swin-pico_scenes.py'
model = dict(backbone=dict(clock=dict(lcn=False)))
