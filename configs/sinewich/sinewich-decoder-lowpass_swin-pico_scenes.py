# The low-pass in full for the first convolution of the heads too, instead of a learnt share of it.
_base_ = './sinewich_swin-pico_scenes.py'
model = dict(decoder=dict(lowpass=True))
