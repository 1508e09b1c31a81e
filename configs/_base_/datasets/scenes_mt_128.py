# Embedded procedural scenes at 128 x 128, smooth pictures: nothing to download. Rendered once, at
# .06 s a picture, then kept in memory.
tasks = dict(
    semseg=dict(num_classes=21),
    human_parts=dict(),
    sal=dict(),
    normals=dict(),
    depth=dict(),
    # 2 pixels of 128 x 128; on such small pictures the literature's .0075 is little more than one
    edge=dict(metric=dict(type='EdgeMetric', max_dist=0.0113, thresholds=19)),
)
size = (128, 128)

# Measured here: full EfficientNet-Lite2 networks for one task each, with the same recipe, by
# python tools/train.py configs/single_task/<task>_efficientnet-lite2_scenes.py.
baselines = None

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
        length=640,
        size=size,
        supersample=2,
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
        length=100,
        size=size,
        supersample=2,
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
