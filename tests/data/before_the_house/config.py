# A small model with what a file of a run can have in it: adapters of five kinds whose ranks shrink,
# lanes, factors that layers share, a clock whose tokens pass the network.
_base_ = ['../../../configs/_base_/default_runtime.py']

tasks = dict(semseg=dict(), depth=dict())
model = dict(
    type='MultiTaskModel',
    tasks=tasks,
    img_size=(32, 32),
    data_preprocessor=dict(type='MultiTaskDataPreprocessor'),
    backbone=dict(
        type='AdapterBackbone',
        backbone=dict(
            type='timm.swin_tiny_patch4_window7_224',
            pretrained='base.pth',  # helpers/before_the_house.py writes it
            embed_dim=4,
            depths=(2, 1, 1, 1),
            num_heads=(1, 1, 1, 2),
            drop_path_rate=0.0,
        ),
        plugins=[
            dict(cfg=dict(type='DoRA', rank=4), targets=['qkv', 'reduction']),
            dict(cfg=dict(type='Compacter', n=2, width=4), targets=['layers.0.blocks.0.mlp.fc2']),
            dict(cfg=dict(type='MTLoRA', rank=4, task_rank=3), lanes='task',
                 targets=['re:layers.(0.blocks.1|[1-3]).*fc1']),
            dict(cfg=dict(type='DoRA', rank=4, task_rank=3), lanes='task',
                 targets=['re:layers.[12].*fc2']),
            dict(cfg=dict(type='SineAWB', rank=4, kernel_size=None), lanes='task',
                 targets=['re:layers.(0.blocks.1|[1-3]).*proj']),
        ],
        tasks=list(tasks),
        train_also=['patch_embed'],
        clock=dict(tokens='prepend'),
    ),
    necks=[dict(type='ProjectionNeck', out_channels=(4, 4, 4, 4))],
    decoder=dict(type='SharedBaseDecoder', channels=8),
)  # fmt: skip
pipeline = [dict(type='PackMultiTaskInputs')]
scenes = dict(type='ScenesMT', tasks=tasks, size=(32, 32), length=4, seed=1, pipeline=pipeline)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), dataset=scenes
)
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=scenes
)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='FlatNoDecayConstructor',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.05),
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4)
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='MultiTaskEvaluator', metrics=[], tasks=tasks)
default_hooks = dict(
    checkpoint=dict(save_best=None),
    pdrs=dict(type='PDRSHook', rho=0.85, margin=0),
)
vis_backends = []
visualizer = dict(vis_backends=[])
log_level = 'WARNING'
