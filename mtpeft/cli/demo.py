"""mtpeft demo: a page in the browser."""

import argparse
import sys
import time

DESCRIPTION = """\
Show in the browser what models predict: drop a picture, tick tasks, see maps with their legends,
and slide between picture and map. Several models stand side by side.

    mtpeft demo mtpeft:faar_efficientnet-lite2_scenes
    mtpeft demo faar.safetensors mtlora.safetensors --port 8000

A MODEL is a file, a folder of save_pretrained, a work dir, or mtpeft:NAME. The page is reached
from this machine only, unless --host says otherwise. It fetches nothing and reports nothing. It
needs the extra "demo": pip install "mtpeft[demo]".
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument('models', nargs='+', metavar='MODEL', help='one model, or several')
    parser.add_argument(
        '--checkpoint', metavar='CKPT', help='checkpoint of a MODEL that is a config'
    )
    parser.add_argument(
        '--base', metavar='FILE', help='weights of the frozen base, where a model names none'
    )
    parser.add_argument('--device', help='default: a GPU where there is one')
    parser.add_argument('--examples', nargs='+', metavar='PICTURE', help='pictures to click on')
    parser.add_argument(
        '--host', default='127.0.0.1',
        help='address to listen on; 0.0.0.0 lets everybody in who reaches this machine',
    )  # fmt: skip
    parser.add_argument('--port', type=int, help='default: the first free one from 7860')


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C; the exit status."""
    from mtpeft.apis.demo.page import Demo, load_gradio

    try:
        load_gradio()
        demo = Demo(_models(args), args.examples)
        address = demo.start(args.host, args.port)
    except (ImportError, OSError, ValueError, KeyError, TypeError) as error:
        print(f'mtpeft demo: {error}', file=sys.stderr)
        return 2
    print(f'{address}  (Ctrl-C ends it)', flush=True)
    if args.host not in ('127.0.0.1', 'localhost'):
        print(f'Everybody who reaches {args.host} can use this page.', flush=True)
    try:
        _wait()
    except KeyboardInterrupt:
        return 0
    finally:
        demo.close()


def _wait() -> None:
    while True:
        time.sleep(1)


def _models(args: argparse.Namespace) -> dict:
    from pathlib import Path

    from mtpeft.apis import MultiTaskInferencer
    from mtpeft.cli.model_argument import read_model

    if args.checkpoint and len(args.models) > 1:
        raise ValueError('--checkpoint belongs to one MODEL, got several. Publish them as files.')
    found = {}
    for source in args.models:
        name = source.removeprefix('mtpeft:') if ':' in source else Path(source).stem
        while name in found:
            name += "'"
        args.model = source
        model = read_model(args)
        if not getattr(model, 'merged', True):
            model.merge_adapters(reversible=False, log=False)
        found[name] = MultiTaskInferencer(model)
    return found
