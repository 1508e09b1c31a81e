"""A process of several knows it."""

import pytest

from mtpeft.utils.dist import check_launcher

TORCHRUN = dict(WORLD_SIZE='2', RANK='1', LOCAL_RANK='1')


def test_torchrun_without_a_launcher_is_refused():
    with pytest.raises(ValueError, match='one of 2 processes.*--launcher pytorch'):
        check_launcher('none', TORCHRUN)


@pytest.mark.parametrize(
    'launcher, environ', [('pytorch', TORCHRUN), ('none', {}), ('none', dict(WORLD_SIZE='1'))]
)
def test_what_goes(launcher, environ):
    check_launcher(launcher, environ)


def test_unknown_launcher():
    with pytest.raises(ValueError, match="'torchrun'"):
        check_launcher('torchrun', {})
