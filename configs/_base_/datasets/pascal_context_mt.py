# PASCAL-Context, 4998 / 5105 pictures, at 448 x 448 (labels too, as all released code evaluates).
tasks = dict(semseg=dict(num_classes=21), human_parts=dict(), sal=dict(), normals=dict())
data_root = 'data/PASCAL_MT'
size = (448, 448)

# Single-task Swin-T as printed in arXiv 2403.20320, table 2.
baselines = dict(semseg=67.21, human_parts=61.93, sal=62.35, normals=17.97)

train_pipeline = [
    dict(type='MTRandomFlip', prob=0.5),
    dict(type='MTRandomScaleRotate', angles=(-20, 20), scales=(0.75, 1.25)),
    dict(type='MTResize', size=size),
    dict(type='PackMultiTaskInputs'),
]
test_pipeline = [dict(type='MTResize', size=size), dict(type='PackMultiTaskInputs')]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='PASCALContextMT',
        data_root=data_root,
        split='train',
        tasks=tasks,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='PASCALContextMT',
        data_root=data_root,
        split='val',
        tasks=tasks,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='MultiTaskEvaluator', metrics=[], tasks=tasks, baselines=baselines)
test_evaluator = val_evaluator
