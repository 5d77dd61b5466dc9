"""Near copies: the same picture after a flip, a resize, a small crop, another brightness, or lossy compression.

Three steps, each on fewer pairs. Signatures: the absolute low frequencies of the cosine transform, measured by how
much they vary in this data set, do not change under flips and little under crops. Overlay: the signed frequencies tell
which flip fits. Proof: one picture is registered on the other (Lucas and Kanade 1981, with a scale and a shift for each
axis) and must then agree in the large and in the fine structure.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ml.fingerprints import SIDE, Fingerprints
from ml.joining import joined
from ml.registration import Floats, blurred, inverse, registered, sampled, standard

MIN_CONTRAST = 4.0  # standard deviation in grey levels: below it all pictures look alike
_SIGNATURE = (6, 0.65)  # frequencies a side, cosine
_MANY = (20_000, 0.75)  # images from which on the cosine must be higher: the closest pairs are enough work
_OVERLAY = (10, 0.8)  # frequencies a side, correlation in the best flip
_ALWAYS = 30_000  # pairs that are looked at however few the images are
_HOPEFUL_SMALL = 0.88  # correlation once registered, in a resolution reduced by 4
_HOPEFUL = (0.9, 0.7)  # in one reduced by 2: correlation, and that of the structure that two blurs take away
_SAME = 0.97  # correlation of the blurred pictures after registration
_DETAIL = 4  # blurs that take the large structure away; what one blur takes away a smaller copy may not have
_SAME_DETAIL = 0.9  # correlation of the structure in between
_LARGEST_CHANGE = 0.25  # of scale and of place, in half sides
_BLOCK = 1_024  # its square of nearnesses stays in the processor's cache
_PAIRS_AT_ONCE = 512


def clusters(prints: Fingerprints, hashes: Sequence[str]) -> list[int | None]:
    """The number of the cluster of copies and near copies that each image belongs to; None for an image alone.

    Equal `hashes` are exact copies. Clusters are numbered by first appearance; the order changes nothing else.
    """
    first_N = _first_of_equals(hashes)
    copies_N = np.flatnonzero(first_N != np.arange(len(hashes)))
    copies = zip(first_N[copies_N].tolist(), copies_N.tolist(), strict=True)
    roots = joined(len(hashes), chain(copies, near_pairs(prints, np.unique(first_N))))
    sizes = np.bincount(roots, minlength=len(roots))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root, len(numbers)) if sizes[root] > 1 else None for root in roots]


def _first_of_equals(hashes: Sequence[str]) -> NDArray[np.int64]:
    """For each image the number of the first one that has its hash."""
    longest = max(map(len, hashes), default=1)
    column_N = np.fromiter(hashes, f"S{longest}", len(hashes))
    _, first_M, which_N = np.unique(column_N, return_index=True, return_inverse=True)
    return first_M[which_N]


def near_pairs(prints: Fingerprints, among_N: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Pairs (left < right) of fingerprints, among those of the given numbers in ascending order, that show the same
    picture.
    """
    judged_N, signatures_NF = _judged(prints, among_N)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:  # BLAS has threads of its own
        pairs_M2 = judged_N[_candidates(signatures_NF, pool)]
        several = (pairs_M2[start : start + _PAIRS_AT_ONCE] for start in range(0, len(pairs_M2), _PAIRS_AT_ONCE))
        for found in pool.map(partial(_proven, prints), several):
            yield from found


def _judged(prints: Fingerprints, among_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """The numbers of the pictures with contrast, and their signatures: what differs from picture to picture in how
    strong each low frequency is, each signature of length 1.
    """
    size = _SIGNATURE[0]
    judged, count = [np.zeros(0, np.int64)], 0
    signatures_NF = np.empty((len(among_N), size**2 - 1), np.float32)  # of pages that nothing touches nothing is taken
    for start in range(0, len(prints), _BLOCK):
        prints_BP = prints.block(start, start + _BLOCK)
        has_contrast_B = prints_BP.std(axis=1) >= MIN_CONTRAST
        numbers_B = np.intersect1d(np.flatnonzero(has_contrast_B) + start, among_N, assume_unique=True)
        spectra_BFF = _spectra(prints_BP[numbers_B - start])[:, :size, :size]
        judged.append(numbers_B)
        signatures_NF[count : count + len(numbers_B)] = np.sqrt(np.abs(spectra_BFF)).reshape(-1, size**2)[:, 1:]
        count += len(numbers_B)
    signatures_NF = signatures_NF[:count]
    if count:
        signatures_NF -= signatures_NF.mean(axis=0)
        signatures_NF /= np.maximum(signatures_NF.std(axis=0), 1e-6)
        signatures_NF /= np.maximum(np.linalg.norm(signatures_NF, axis=1, keepdims=True), 1e-6)
    return np.concatenate(judged), signatures_NF


def _proven(prints: Fingerprints, pairs_P2: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Those pairs that agree after registration, from coarse to fine: most fall in low resolution.

    A crop is part of the whole, and the whole is no part of the crop: whichever of the two the right picture is.
    """
    left_PP, right_PP = prints.take(pairs_P2[:, 0]), prints.take(pairs_P2[:, 1])
    flips_P, fits_P = _best_flips(_spectra(left_PP), _spectra(right_PP))
    pairs_P2, left_PSS = pairs_P2[fits_P], _flipped(left_PP[fits_P], flips_P[fits_P])
    right_PSS = right_PP[fits_P].reshape(-1, SIDE, SIDE).astype(np.float32)
    place_P4 = np.tile(np.array([1, 0, 1, 0], np.float32), (len(pairs_P2), 1))
    for factor, is_hopeful in ((4, _is_hopeful_small), (2, _is_hopeful)):
        small_left, small_right = _reduced(left_PSS, factor), _reduced(right_PSS, factor)
        place_P4 = registered(small_left, small_right, place_P4)
        stays_P = is_hopeful(sampled(small_left, place_P4), small_right)
        left_PSS, right_PSS = left_PSS[stays_P], right_PSS[stays_P]
        place_P4, pairs_P2 = place_P4[stays_P], pairs_P2[stays_P]
    is_same_P = _is_part(left_PSS, right_PSS, place_P4)
    others_P = ~is_same_P
    is_same_P[others_P] = _is_part(right_PSS[others_P], left_PSS[others_P], inverse(place_P4[others_P]))
    return [(int(left), int(right)) for left, right in pairs_P2[is_same_P]]


def _reduced(pictures_PSS: Floats, factor: int) -> Floats:
    """The means of `factor` x `factor` pixels."""
    n, side = len(pictures_PSS), SIDE // factor
    return np.asarray(pictures_PSS.reshape(n, side, factor, side, factor).mean(axis=(2, 4)), np.float32)


def _spectra(prints_BP: NDArray[np.uint8]) -> Floats:
    """Low frequencies (B, 10, 10) without the mean, each spectrum of length 1."""
    cosines_FS = _cosines()
    spectra_BFF: Floats = cosines_FS @ prints_BP.reshape(-1, SIDE, SIDE).astype(np.float32) @ cosines_FS.T
    spectra_BFF[:, 0, 0] = 0
    length_B = np.linalg.norm(spectra_BFF, axis=(1, 2))
    return spectra_BFF / np.maximum(length_B, 1e-6)[:, None, None]


def _candidates(signatures_NF: Floats, pool: ThreadPoolExecutor) -> NDArray[np.int32]:
    """Pairs (M, 2), left < right, whose signatures point the same way; in a large set only the closest, about one
    for two images, so that the proofs grow with the images and not with their square.
    """
    most = max(_ALWAYS, len(signatures_NF) // 2)
    pairs_M2, nearness_M = np.zeros((0, 2), np.int32), np.zeros(0, np.float32)
    for start in range(0, len(signatures_NF), _BLOCK):
        found = list(pool.map(partial(_near, signatures_NF, start), range(start, len(signatures_NF), _BLOCK)))
        pairs_M2 = np.concatenate([pairs_M2, *(pairs for pairs, _ in found)])
        nearness_M = np.concatenate([nearness_M, *(nearness for _, nearness in found)])
        chosen = _closest(nearness_M, np.arange(len(nearness_M)), most)
        pairs_M2, nearness_M = pairs_M2[chosen], nearness_M[chosen]
    return pairs_M2


def _near(signatures_NF: Floats, start: int, other: int) -> tuple[NDArray[np.int32], Floats]:
    """Of the pictures of two blocks the pairs that are near one another, and how near."""
    limit = (_MANY if len(signatures_NF) > _MANY[0] else _SIGNATURE)[1]
    near_BB = signatures_NF[start : start + _BLOCK] @ signatures_NF[other : other + _BLOCK].T
    if start == other:
        near_BB[np.tril_indices(len(near_BB))] = -1
    chosen = _closest(near_BB.reshape(-1), np.flatnonzero(near_BB > limit), 4 * _BLOCK)
    left, right = np.divmod(chosen, near_BB.shape[1])
    return np.stack([left + start, right + other], axis=1).astype(np.int32), near_BB.reshape(-1)[chosen]


def _closest(nearness: Floats, chosen: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Of the chosen places those `most` with the highest values."""
    if len(chosen) <= most:
        return chosen
    return np.sort(chosen[np.argpartition(-nearness[chosen], most)[:most]])


def _best_flips(left_MFF: Floats, right_MFF: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The flip of the left picture (0 to 3: bit 0 sideways, bit 1 upside down) that fits best, and whether it fits.

    A flip along an axis turns the signs of that axis's odd frequencies.
    """
    product_MFF = left_MFF * right_MFF
    even_even, even_odd = product_MFF[:, ::2, ::2].sum((1, 2)), product_MFF[:, ::2, 1::2].sum((1, 2))
    odd_even, odd_odd = product_MFF[:, 1::2, ::2].sum((1, 2)), product_MFF[:, 1::2, 1::2].sum((1, 2))
    fits_4M = np.stack(
        [
            even_even + even_odd + odd_even + odd_odd,
            even_even - even_odd + odd_even - odd_odd,
            even_even + even_odd - odd_even - odd_odd,
            even_even - even_odd - odd_even + odd_odd,
        ]
    )
    return fits_4M.argmax(axis=0), fits_4M.max(axis=0) > _OVERLAY[1]


def _flipped(prints_PP: NDArray[np.uint8], flips_P: NDArray[np.int64]) -> Floats:
    pictures_PSS = prints_PP.reshape(-1, SIDE, SIDE).astype(np.float32)
    sideways_P, upside_down_P = flips_P & 1 == 1, flips_P & 2 == 2
    pictures_PSS[sideways_P] = pictures_PSS[sideways_P, :, ::-1]
    pictures_PSS[upside_down_P] = pictures_PSS[upside_down_P, ::-1, :]
    return pictures_PSS


def _is_hopeful_small(seen_PSS: Floats, part_PSS: Floats) -> NDArray[np.bool_]:
    return _correlation(seen_PSS, part_PSS) > _HOPEFUL_SMALL


def _is_hopeful(seen_PSS: Floats, part_PSS: Floats) -> NDArray[np.bool_]:
    in_large, in_detail = _HOPEFUL
    is_hopeful_P: NDArray[np.bool_] = _correlation(seen_PSS, part_PSS) > in_large
    return is_hopeful_P & (_correlation_in_detail(blurred(seen_PSS), blurred(part_PSS), 2) > in_detail)


def _is_part(whole_PSS: Floats, part_PSS: Floats, place_P4: Floats) -> NDArray[np.bool_]:
    """Whether some crop of `whole`, near the given place, brought to the same size, is `part`."""
    place_P4 = registered(whole_PSS, part_PSS, place_P4)
    is_small = (np.abs(place_P4 - np.array([1, 0, 1, 0])) < _LARGEST_CHANGE).all(axis=1)
    seen_PSS, part_PSS = blurred(sampled(whole_PSS, place_P4)), blurred(part_PSS)
    is_alike = _correlation(seen_PSS, part_PSS) > _SAME
    result: NDArray[np.bool_] = (
        is_small & is_alike & (_correlation_in_detail(seen_PSS, part_PSS, _DETAIL) > _SAME_DETAIL)
    )
    return result


def _correlation(left_PSS: Floats, right_PSS: Floats) -> Floats:
    correlation_P: Floats = (standard(left_PSS) * standard(right_PSS)).mean(axis=(1, 2))
    return correlation_P


def _correlation_in_detail(left_PSS: Floats, right_PSS: Floats, blurs: int) -> Floats:
    """Correlation of what so many blurs take away."""
    return _correlation(left_PSS - blurred(left_PSS, blurs), right_PSS - blurred(right_PSS, blurs))


@cache
def _cosines() -> Floats:
    """Rows of the cosine transform (DCT-II) for the lowest frequencies, shape (10, 32)."""
    frequencies_F1, places_S = np.arange(_OVERLAY[0])[:, None], np.arange(SIDE)
    return np.cos(np.pi * (places_S + 0.5) * frequencies_F1 / SIDE).astype(np.float32)
