"""``python -m mtpeft`` is the command ``mtpeft``."""

from mtpeft.cli import main

if __name__ == '__main__':
    raise SystemExit(main())
