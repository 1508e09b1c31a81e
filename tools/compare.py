"""The same as ``mtpeft compare``."""

from mtpeft.cli import run_script

if __name__ == '__main__':
    run_script('compare')
