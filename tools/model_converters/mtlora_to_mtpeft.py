"""Convert a checkpoint of the released MTLoRA code to an mtpeft checkpoint.

    python tools/model_converters/mtlora_to_mtpeft.py IN.pth OUT.pth

The result loads into a model of configs/mtlora/*_swin-t_*.py of the same rank and tasks.
"""

from mtpeft.converters.files import run_converter

if __name__ == '__main__':
    run_converter('MTLoRA', __doc__)
