# The adapters of FAAR (arXiv 2603.20403): DoRA for all tasks, patch merging too, and in the last
# block of each stage one a task. Their ranks shrink by PDRSHook. It prints AdamW with a learning
# rate of 5e-4 at a batch of 32 for 300 epochs; what it does not print is of mtlora_300e.py: warm-up
# of 20 epochs, cosine, weight decay, clipping.
plugins = dict(
    shared=dict(cfg=dict(type='DoRA', rank=64), targets=['qkv', 'reduction']),
    lanes=dict(cfg=dict(type='DoRA', rank=64), targets=['proj', 'fc1', 'fc2'], lanes='task'),
)
