import zipfile
from pathlib import Path

import numpy as np

from ml import images, synthetic


def test_the_same_seed_gives_the_same_archive(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        synthetic.write_archive(tmp_path / name, images_per_class=3, seed=seed)
    first, second, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != other


def test_the_archive_has_class_folders_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    synthetic.write_archive(tmp_path / "a.zip", images_per_class=2, size_px=48)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [
            f"{label}/synthetic_000{number}.png" for label in ("benign", "malignant") for number in (1, 2)
        ]
        assert images.decode(archive.read("benign/synthetic_0002.png")).shape == (48, 48, 3)


def test_the_classes_differ_in_the_column_behind_the_lesion_but_overlap() -> None:
    def brightness(label: str) -> np.ndarray:
        generator = np.random.default_rng(0)
        drawn_NHW = np.stack([synthetic.draw(label, 64, generator) for _ in range(100)]).astype(float)
        return drawn_NHW[:, 50:, 20:44].mean(axis=(1, 2)) - drawn_NHW[:, 50:].mean(axis=(1, 2))

    benign_N, malignant_N = brightness(synthetic.BENIGN), brightness(synthetic.MALIGNANT)
    concordance = (benign_N[:, None] > malignant_N[None, :]).mean()
    assert 0.6 < concordance < 0.95
