# Ablation "w/o Low-pass filter", in the adapters and in the decoder.
_base_ = './sinewich_swin-pico_scenes.py'
model = dict(
    backbone=dict(plugins=dict(lanes=dict(cfg=dict(lowpass=False)))), decoder=dict(lowpass=False)
)
