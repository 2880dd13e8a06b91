"""Reading a picture file as transformers does (turned as its EXIF says, three channels), or saying what is wrong."""

from pathlib import Path

from PIL import Image


class DamagedImage(Exception):
    """A picture that cannot be read: its path, and why. The caller rejects the row."""


def read_image(path: str | Path) -> Image.Image:
    """The picture in RGB.

    Raises:
        DamagedImage: no such file, no picture, or one that is cut off.
    """
    from transformers.image_utils import load_image  # seconds, which who only makes rows need not pay

    if not Path(path).is_file():
        raise DamagedImage(f"{path}: no such file")
    try:
        return load_image(str(path))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, for damaged files
        reason = " ".join(str(error).split()).replace(str(path), "the file")
        raise DamagedImage(f"{path}: cannot be read as a picture: {reason}") from error
