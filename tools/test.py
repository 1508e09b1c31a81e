"""The same as ``mtpeft test``."""

from mtpeft.cli import run_script

if __name__ == '__main__':
    run_script('test')
