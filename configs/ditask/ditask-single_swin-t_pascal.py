# DiTASK with the flows that serve all tasks only, as for one task. The patch-merging reductions are
# trained in full.
_base_ = './ditask_swin-t_pascal.py'
model = dict(
    backbone=dict(plugins=dict(shared=dict(targets=['qkv', 'proj', 'fc1', 'fc2']), lanes=None))
)
