"""Registration finds the place of which a picture was cut out."""

import numpy as np

from ml import registration


def test_a_part_is_found_where_it_was_cut_out() -> None:
    pictures_PSS = registration.blurred(np.random.default_rng(0).normal(size=(4, 32, 32)).astype(np.float32), 6)
    cut_P4 = np.array([[0.9, 0.05, 0.95, -0.02], [1, 0.1, 1, 0], [0.85, 0, 0.85, 0], [1, 0, 1, 0]], np.float32)
    parts_PSS = registration.sampled(pictures_PSS, cut_P4)
    start_P4 = np.tile(np.array([1, 0, 1, 0], np.float32), (4, 1))
    found_P4 = registration.registered(pictures_PSS, parts_PSS, start_P4)
    np.testing.assert_allclose(found_P4, cut_P4, atol=0.02)


def test_the_place_of_the_whole_in_its_part_is_the_inverse() -> None:
    place_P4 = np.array([[0.8, 0.1, 1.1, -0.2]], np.float32)
    np.testing.assert_allclose(registration.inverse(registration.inverse(place_P4)), place_P4, rtol=1e-6)
