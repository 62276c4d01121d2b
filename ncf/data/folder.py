"""A folder of pictures as a dataset: subfolders are classes, and `train`, `validation` and `test` above them are splits.

mine/cats/1.png  mine/dogs/a.jpg          two classes
mine/train/cats/1.png  mine/test/...      the set's own splits
mine/1.png  mine/2.png                    no classes
"""

from pathlib import Path

import numpy as np

from ncf.config.schema import DatasetConfig
from ncf.errors import UserError

ROUNDING = 1e-5  # by which arithmetic in float32 may miss 0 and 1
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


def read_folder(config: DatasetConfig, folder: Path) -> dict:
    """Split name -> images (N, H, W) in [0, 1], and their classes (N,) or None."""
    root = Path(config.path)
    if not root.is_dir():
        raise UserError(f"dataset.path={root}: {'is no folder' if root.exists() else 'no such folder'}; give a folder of pictures")
    parts = parts_of(root)
    if "train" not in parts:
        raise UserError(f"dataset.path={root}: has a folder {next(iter(parts))} but none named train")
    found = {split: pictures(part) for split, part in parts.items()}
    classes = names_in(found)
    number = {name: i for i, name in enumerate(classes)}
    splits, sizes = {}, {}
    for split, files in found.items():
        if not files:
            raise UserError(f"dataset.path={root}: no picture is in {parts[split]} (looked for {', '.join(sorted(SUFFIXES))})")
        images = []
        for _, path in files:
            images.append(read_picture(path, config))
            sizes.setdefault(images[-1].shape, path)
            if len(sizes) > 1:
                (a, first), (b, second) = sizes.items()
                raise UserError(
                    f"dataset.path={root}: pictures differ in size: {first.name} is {a[0]} x {a[1]}, {second.name} {b[0]} x {b[1]} (height x width); "
                    "dataset.size=28 cuts them to squares and resizes them"
                )
        splits[split] = np.stack(images), np.array([number[name] for name, _ in files]) if classes else None
    return splits


def parts_of(root: Path) -> dict[str, Path]:
    """Split -> its folder; all is for training where no folder is named after a split."""
    return {SPLITS[part.name.lower()]: part for part in folders_of(root) if part.name.lower() in SPLITS} or {"train": root}


def class_names(root: Path) -> list[str]:
    """The classes 0, 1, .. by name."""
    return names_in({split: pictures(part) for split, part in parts_of(root).items()})


def names_in(found: dict[str, list[tuple[str | None, Path]]]) -> list[str]:
    return sorted({name for files in found.values() for name, _ in files if name is not None})


def folders_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def pictures(folder: Path) -> list[tuple[str | None, Path]]:
    """The pictures of a split with the name of their class: its subfolder, None where there are no subfolders."""
    loose = files_of(folder, deep=False)
    classes = [(part.name, path) for part in folders_of(folder) for path in files_of(part)]
    if loose and classes:
        raise UserError(
            f"{folder}: has pictures ({loose[0].name}) next to folders of pictures ({classes[0][0]}); put every picture into a folder, or none"
        )
    return classes or [(None, path) for path in loose]


def files_of(folder: Path, deep: bool = True) -> list[Path]:
    paths = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."))


def read_picture(path: Path, config: DatasetConfig) -> np.ndarray:
    """Grey values in [0, 1], (H, W); what is transparent is black."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode[0] in "IF":
                grey = Image.fromarray(deep_values(picture, path))
            else:
                grey = grey_of(picture.convert("RGBA"), path, config.grey)
    except UserError:
        raise
    except Exception as error:  # what Pillow raises on a damaged file depends on its format
        raise UserError(f"{path}: cannot be read as a picture ({error}); mend or remove it") from error
    if config.size is not None:
        grey = ImageOps.fit(grey, (config.size, config.size), method=Image.Resampling.BOX if grey.width > config.size else Image.Resampling.BICUBIC)
    return np.asarray(grey, dtype=np.float32).clip(0, 1)


def deep_values(picture, path: Path) -> np.ndarray:
    """The values (H, W), in [0, 1] but for rounding, of a grey picture of floats, or of integers of 16 bits."""
    values, whole = np.asarray(picture, dtype=np.float32), 1 if picture.mode == "F" else 65535
    if not -ROUNDING <= values.min() / whole <= values.max() / whole <= 1 + ROUNDING:  # nor where a value is NaN
        raise UserError(f"{path} holds values from {values.min():.8g} to {values.max():.8g}; expected 0 to {whole}: scale them, or save bytes")
    return values / whole


def grey_of(picture, path: Path, turn_grey: bool):
    """The luminance of a picture (red, green, blue, alpha); colours are refused unless they may be turned grey."""
    from PIL import Image

    values = np.asarray(picture, dtype=np.float32) / 255
    colours = values[..., :3] * values[..., 3:]
    if not turn_grey and np.ptp(colours, axis=-1).max() > 0.1:  # JPEG leaves traces of colour in grey pictures
        raise UserError(f"{path} is in colour; dataset.grey=true turns pictures grey")
    return Image.fromarray(colours @ np.array([0.299, 0.587, 0.114], dtype=np.float32))
