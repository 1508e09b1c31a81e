"""Draw what the trained adapters that mtpeft ships predict, without any training.

    python tools/predict_demo.py [--out DIR] [PICTURE ...]

FAAR on a frozen EfficientNet-Lite2, trained on the embedded scenes (mtpeft/weights/README.md), for
three rooms that it was not trained on, or for the pictures that are named. Each drawing has the
input, the ground truth where there is one, and the predictions.
"""

import argparse
from pathlib import Path

from mmengine.logging import MMLogger

from mtpeft.apis import MultiTaskInferencer, draw_predictions, init_model
from mtpeft.registry import DATASETS
from mtpeft.visualization.visualizer import write_picture

WEIGHTS = 'mtpeft:faar_efficientnet-lite2_scenes'
# of the validation set: several persons, furniture, an animal
SCENES = (0, 3, 15)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('pictures', nargs='*', metavar='PICTURE', help='pictures of your own')
    parser.add_argument('--out', default='demo', metavar='DIR', help='folder of the drawings')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    MMLogger.get_instance('demo', log_level='WARNING')  # not a line for every parameter
    model = init_model(checkpoint=WEIGHTS)
    if args.pictures:
        prepare = MultiTaskInferencer(model).prepare
        named = {Path(path).stem: prepare(path) for path in args.pictures}
    else:
        scenes = DATASETS.build(model.cfg.val_dataloader.dataset)
        named = {f'scene_{index}': scenes[index] for index in SCENES}
    for name, picture in named.items():
        (drawn,) = draw_predictions(model, [picture])
        path = Path(args.out) / f'{name}.png'
        write_picture(path, drawn)
        print(path)


if __name__ == '__main__':
    main()
