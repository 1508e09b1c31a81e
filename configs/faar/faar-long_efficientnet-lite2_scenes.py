_base_ = './faar_efficientnet-lite2_scenes.py'

# mtpeft/weights/faar_efficientnet-lite2_scenes.safetensors: as README's first run on 1,600 scenes,
# two and a half times as long. Narrow projections and heads, and ranks that fall as far as the
# scores say, keep the file below 1 MiB.
model = dict(
    necks=[dict(type='ProjectionNeck', out_channels=(18, 24, 32, 32)), dict(type='TSPD')],
    decoder=dict(head=dict(channels=80)),
)
train_dataloader = dict(dataset=dict(length=1600))
default_hooks = dict(pdrs=dict(margin=0))
