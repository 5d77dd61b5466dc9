"""Fingerprints lie on disk and are read as they are asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ml.fingerprints import BYTES, Fingerprints, fingerprint

SHOWN_NP = np.random.default_rng(0).integers(0, 256, (50, BYTES), np.uint8)


def test_what_was_added_is_read_by_blocks_and_by_numbers() -> None:
    with Fingerprints.of(SHOWN_NP) as prints:
        assert len(prints) == 50
        np.testing.assert_array_equal(prints.block(40, 60), SHOWN_NP[40:])
        np.testing.assert_array_equal(prints.take(np.array([7, 3, 7])), SHOWN_NP[[7, 3, 7]])


def test_threads_may_read_what_is_still_being_written() -> None:
    with Fingerprints() as prints, ThreadPoolExecutor(4) as pool:
        for print_P in SHOWN_NP:
            prints.add(print_P)
            list(pool.map(lambda _: prints.block(0, len(prints)), range(4)))
        np.testing.assert_array_equal(prints.block(0, 50), SHOWN_NP)


def test_a_fingerprint_is_the_small_grey_picture() -> None:
    image_HWC = np.zeros((64, 64, 3), np.uint8)
    image_HWC[:, 32:] = 200
    small_SS = fingerprint(image_HWC).reshape(32, 32)
    assert (small_SS[:, :15] == 0).all()
    assert (small_SS[:, 17:] == 200).all()
