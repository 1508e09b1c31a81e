# Ablation "+ PDRS w/ LoRA": as FAAR without TS-PD, LoRA instead of DoRA.
_base_ = './faar-pdrs-dora_swin-t_pascal.py'
model = dict(
    backbone=dict(
        plugins=dict(shared=dict(cfg=dict(type='LoRA')), lanes=dict(cfg=dict(type='LoRA')))
    )
)
