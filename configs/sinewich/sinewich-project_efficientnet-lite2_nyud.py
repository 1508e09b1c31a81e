# Ours: the kernel of 3 beside the projection of the last blocks instead of beside the blocks, from
# the expanded width.
_base_ = './sinewich_efficientnet-lite2_nyud.py'
model = dict(
    backbone=dict(plugins=dict(shared=dict(targets=['expand']), lanes=dict(targets=['project'])))
)
