"""Pictures of spectral filters against what the filters do."""

import numpy as np
import pytest
import torch
from helpers.spectral_oracle import shake

from mtpeft.models.necks import ChannelwiseSpectralFilter
from mtpeft.visualization.spectra_picture import draw, picture


@pytest.mark.parametrize('size', [(6, 6), (5, 7), (4, 3), (2, 2), (1, 1)], ids=str)
def test_a_picture_is_what_the_filter_does_to_an_impulse(size):
    """The spectrum of one bright pixel is even: that of its filtered picture is the gain."""
    neck = shake(ChannelwiseSpectralFilter((3,), base_sizes=[size], alpha=1.0))
    f = neck.filters['shared'][0].double()
    with torch.no_grad():
        f.scale.fill_(1)
        f.shift.zero_()
        f.alpha.fill_(1)
        impulse = torch.zeros(1, 3, *size).double()
        impulse[..., 0, 0] = 1
        response = (f(impulse) - impulse)[0].mean(0).numpy()
    drawn = picture(f)
    np.testing.assert_allclose(drawn, np.fft.fftshift(np.fft.fft2(response).real), atol=1e-6)
    assert drawn[size[0] // 2, size[1] // 2] == pytest.approx(float(f.gain(size)[:, 0, 0].mean()))


def test_pictures_share_one_scale_and_white_is_1():
    neck = shake(
        ChannelwiseSpectralFilter((3, 4), tasks=['sal', 'depth'], base_sizes=[(6, 5), (3, 3)])
    )
    figure = draw(dict(neck.filters.items()), {})
    images = [image for axes in figure.subfigs[0].axes for image in axes.images]
    assert len(images) == 2 * 2
    limits = {image.get_clim() for image in images}
    reach = max(abs(image.get_array() - 1).max() for image in images)
    assert len(limits) == 1 and limits.pop() == pytest.approx((1 - reach, 1 + reach))
