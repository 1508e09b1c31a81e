# Ablation "+ PDRS w/ LoRA": as FAAR without TS-PD, LoRA instead of DoRA.
# A short run shrinks 15 times within its first third and trains on at the small ranks, as the
# paper's long one does.
_base_ = './faar-pdrs-dora_swin-pico_scenes.py'
model = dict(
    backbone=dict(
        plugins=dict(shared=dict(cfg=dict(type='LoRA')), lanes=dict(cfg=dict(type='LoRA')))
    )
)
