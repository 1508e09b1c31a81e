# NYUDv2, 795 / 654 pictures, at 448 x 448. Three tasks, as FAAR reports; add edge=dict() for four.
tasks = dict(semseg=dict(num_classes=40), depth=dict(), normals=dict())
data_root = 'data/NYUD_MT'
size = (448, 448)

# Single-task Swin-T as printed by FAAR (arXiv 2603.20403).
baselines = dict(semseg=42.65, depth=0.60, normals=22.83)

train_pipeline = [
    dict(type='MTRandomFlip', prob=0.5),
    dict(type='MTRandomScaleCrop', scales=(1, 1.2, 1.5)),
    dict(type='MTResize', size=size),
    dict(type='PackMultiTaskInputs'),
]
# depth is judged at measured labels, as the released code of MTLoRA does
test_pipeline = [
    dict(type='MTResize', size=size, label_interpolation=dict(depth='nearest')),
    dict(type='PackMultiTaskInputs'),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='NYUDMT', data_root=data_root, split='train', tasks=tasks, pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='NYUDMT',
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
