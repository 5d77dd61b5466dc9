"""Images that are no ultrasound of a breast: photographs and scans from the folder of test data, and drawn ones."""

import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ml import images, synthetic
from ml.errors import BadImage

PHOTOGRAPHS = "cifar10-jpeg.tar.xz"
CATS, OTHERS, DRAWN = 150, 20, 40  # others of each class
WORDS = ("History", "none", "Findings", "density", "left", "right", "Advice", "control", "BI-RADS", "axilla", "12 mm")
CLIENT_KINDS = ("*.jpg", "*.png", "*.webp", "*.avif", "*.gif", "*.dcm")  # of TIFF its library talks without end
Pictures = list[NDArray[np.uint8]]


def of_all_kinds(data: Path) -> dict[str, Pictures]:
    """By kind; what the folder does not hold is left out."""
    random = np.random.default_rng(0)
    found = photographs(data / PHOTOGRAPHS, CATS, OTHERS) if (data / PHOTOGRAPHS).is_file() else {}
    found |= {
        "histology patches": _decoded((data / "breakhis-patches").rglob("*.png")),
        "files of clients": _decoded(path for kind in CLIENT_KINDS for path in (data / "client-images").glob(kind)),
        **{kind: [draw(random) for _ in range(DRAWN)] for kind, draw in DRAWINGS.items()},
        "black to white": [np.full((64, 64, 3), level, np.uint8) for level in range(0, 256, 15)],
    }
    return {kind: pictures for kind, pictures in found.items() if pictures}


def photographs(path: Path, cats: int, others: int = 0) -> dict[str, Pictures]:
    """So many cats of CIFAR-10, the same in grey, and so many of each other class."""
    taken: Counter[str] = Counter()
    found: dict[str, Pictures] = {"cats": [], "cats in grey": [], "other photographs": []}
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            label = Path(entry.name).parent.name
            wanted = cats if label == "cat" else others
            if entry.isfile() and taken[label] < wanted and (file := archive.extractfile(entry)):
                taken[label] += 1
                found["cats" if label == "cat" else "other photographs"].append(images.decode(file.read()))
            if taken["cat"] == cats and (not others or taken["truck"] == others):  # trucks are last
                break
    found["cats in grey"] = [grey(cat) for cat in found["cats"]]
    return found


def grey(image_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image_HWC).convert("L").convert("RGB"))


def _decoded(paths: Iterable[Path]) -> Pictures:
    found = []
    for path in sorted(paths):
        try:
            found.append(images.decode(path.read_bytes()))
        except BadImage:
            continue  # some of the clients' files are damaged on purpose
    return found


def _page(random: np.random.Generator) -> NDArray[np.uint8]:
    page = Image.new("RGB", (300, 300), "white")
    step = int(random.integers(14, 30))
    for top in range(10, 290, step):
        line = " ".join(random.choice(WORDS, int(random.integers(3, 9))))
        ImageDraw.Draw(page).text((12, top), line, fill="black", font_size=0.6 * step)
    return np.asarray(page)


def _noise(random: np.random.Generator) -> NDArray[np.uint8]:
    """In colour or in grey, fine or coarse, even or around a mean."""
    side, channels = int(random.choice([16, 32, 64, 128])), int(random.choice([1, 3]))
    even_HWC, normal_HWC = (
        random.uniform(0, 255, (side, side, channels)),
        random.normal(110, 45, (side, side, channels)),
    )
    values_HWC = even_HWC if random.random() < 0.5 else normal_HWC
    return np.broadcast_to(values_HWC.clip(0, 255).astype(np.uint8), (side, side, 3)).copy()


def _chest_film(random: np.random.Generator) -> NDArray[np.uint8]:
    """Two dark lungs with ribs on a bright chest, blurred, with the noise of a detector."""
    film, shift = Image.new("L", (256, 256), int(random.integers(150, 220))), int(random.integers(-8, 9))
    draw, lung = ImageDraw.Draw(film), int(random.integers(20, 60))
    for left in (28, 140):
        draw.ellipse((left + shift, 30, left + 88 + shift, 226), fill=lung)
    for top in range(40, 220, 26):
        draw.arc((10 + shift, top, 246 + shift, top + 60), 180, 360, fill=lung + 60, width=5)
    draw.ellipse((110 + shift, 110, 190 + shift, 220), fill=190)
    blurred_HW = np.asarray(film.filter(ImageFilter.GaussianBlur(3))).astype(np.float32)
    grey_HW = (blurred_HW + random.normal(0, 5, blurred_HW.shape)).clip(0, 255).astype(np.uint8)
    return np.repeat(grey_HW[..., None], 3, axis=2)


def _synthetic(random: np.random.Generator) -> NDArray[np.uint8]:
    label = synthetic.BENIGN if random.random() < 0.5 else synthetic.MALIGNANT
    return np.repeat(synthetic.draw(label, 64, random)[..., None], 3, axis=2)


DRAWINGS: dict[str, Callable[[np.random.Generator], NDArray[np.uint8]]] = {
    "pages of text": _page,
    "noise": _noise,
    "drawn chest films": _chest_film,
    "drawn ultrasound": _synthetic,
}
