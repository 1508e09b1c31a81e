"""Convert a checkpoint of the TADFormer code, with the dynamic filter, to an mtpeft checkpoint.

    python tools/model_converters/tadformer_to_mtpeft.py IN.pth OUT.pth

The result loads into a model of configs/tadformer/*_swin-t_*.py of the same rank and tasks.
"""

from mtpeft.converters.files import run_converter

if __name__ == '__main__':
    run_converter('TADFormer', __doc__)
