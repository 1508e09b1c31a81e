"""Convert a checkpoint of the released DiTASK code to an mtpeft checkpoint.

    python tools/model_converters/ditask_to_mtpeft.py IN.pth OUT.pth

The result loads into a model of configs/ditask/ditask_swin-t_*.py of the same cells and tasks.
"""

from mtpeft.converters.files import run_converter

if __name__ == '__main__':
    run_converter('DiTASK', __doc__)
