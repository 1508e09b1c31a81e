"""The same as ``mtpeft data scenes``."""

from mtpeft.cli import run_script

if __name__ == '__main__':
    run_script('data', 'scenes')
