# Ablation "Independent Base": adapters with a base for each task; the heads still share theirs.
_base_ = './sinewich_efficientnet-lite2_nyud.py'
model = dict(backbone=dict(plugins=dict(lanes=dict(cfg=dict(base='independent')))))
