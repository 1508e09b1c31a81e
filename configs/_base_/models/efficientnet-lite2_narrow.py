# The same with narrow projections and heads, for pictures of 128 x 128 and files below 1 MB.
_base_ = './efficientnet-lite2.py'
model = dict(
    necks=[dict(type='ProjectionNeck', out_channels=(18, 24, 32, 32))],
    decoder=dict(head=dict(channels=80)),
)
