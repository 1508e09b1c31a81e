"""The same as ``mtpeft train``."""

from mtpeft.cli import run_script

if __name__ == '__main__':
    run_script('train')
