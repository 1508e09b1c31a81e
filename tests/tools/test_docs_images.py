"""The tool that makes the images of the documentation knows each of them."""

import runpy

from helpers.engine import ROOT


def test_every_image_is_made_or_said_to_come_from_elsewhere():
    tool = runpy.run_path(str(ROOT / 'tools/misc/make_docs_images.py'))
    there = {path.name for path in (ROOT / 'docs/images').iterdir()}
    assert not set(tool['IMAGES']) & set(tool['OTHERS'])
    assert there == set(tool['IMAGES']) | set(tool['OTHERS'])


def test_no_image_is_large():
    sizes = {path.name: path.stat().st_size for path in (ROOT / 'docs/images').iterdir()}
    assert {name for name, size in sizes.items() if size > 400_000} == set()
