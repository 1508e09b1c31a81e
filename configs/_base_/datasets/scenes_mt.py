# Embedded procedural scenes: nothing to download. Rendered once, then kept in memory.
tasks = dict(
    semseg=dict(num_classes=21),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    depth=dict(),
    # 2 pixels of 96 x 96; on such small pictures the literature's .0075 is less than one pixel
    edge=dict(metric=dict(type='EdgeMetric', max_dist=0.015, thresholds=19)),
)
size = (96, 96)

# Measured here: full networks for one task each, by python tools/compare.py --suite scenes
# (docs/benchmarks.md).
baselines = dict(semseg=23.45, human_parts=17.21, sal=30.40, normals=19.59, depth=1.122, edge=70.08)

train_pipeline = [dict(type='MTRandomFlip', prob=0.5), dict(type='PackMultiTaskInputs')]
test_pipeline = [dict(type='PackMultiTaskInputs')]

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ScenesMT',
        length=800,
        size=size,
        seed=1,
        cache='memory',
        tasks=tasks,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ScenesMT',
        length=200,
        size=size,
        seed=2,
        cache='memory',
        tasks=tasks,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskEvaluator', metrics=[], tasks=tasks, baselines=baselines)
test_evaluator = val_evaluator
