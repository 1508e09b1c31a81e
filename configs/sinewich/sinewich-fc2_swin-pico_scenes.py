# Ours: the kernel of 3 beside fc2 of the last blocks instead of beside the blocks, from 4C to C
# channels.
_base_ = './sinewich_swin-pico_scenes.py'
model = dict(
    backbone=dict(
        plugins=dict(shared=dict(targets=['qkv', 'proj', 'fc1']), lanes=dict(targets=['fc2']))
    )
)
