"""The same as ``mtpeft data nyudv2``."""

from mtpeft.cli import run_script

if __name__ == '__main__':
    run_script('data', 'nyudv2')
