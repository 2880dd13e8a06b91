"""Pictures of items, small enough to stand in a page. Called by `eval.browsable` for predictions that name an `image`.

A picture is a path or a data URI in a file that may come from anywhere, so nothing of it goes into the page: it is
decoded as a raster image, made small, and written anew.
"""

import base64
import binascii
import io
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

_SIDE = 360  # pixels of the longer side
_QUALITY = 70  # of JPEG: some 15 kB a picture
_LARGEST = 64 << 20  # bytes of a file, and pixels of a picture, that are still read
_ALL = 64 << 20  # characters of all pictures of a page together
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


class Pictures:
    """Makes data URIs of pictures, and counts those that it had to leave out."""

    def __init__(self) -> None:
        self._made: dict[str, str] = {}
        self._size = 0
        self.left_out: dict[str, tuple[int, str]] = {}  # by reason: how many, and where the first stands

    def take(self, image: Any, folder: Path, where: str) -> str:
        """A data URI of a small JPEG; "" where there is no picture, or it is left out.

        Args:
            image: the field of the prediction.
            folder: of the predictions; a relative path is looked for there, then where the command was given.
            where: FILE:LINE, to be told.
        """
        if not image:
            return ""
        if not isinstance(image, str):
            return self._leave_out("not a path or data URI", where)
        key = image if image.startswith("data:") else str(folder / image)
        if key not in self._made:
            self._made[key] = self._make(image, folder, where)
        return self._made[key]

    def warnings(self) -> list[str]:
        """One line for each reason for which pictures were left out."""
        return [
            f"{number:,} picture{'s are' if number > 1 else ' is'} left out: {reason} (first in {where})."
            for reason, (number, where) in self.left_out.items()
        ]

    def _make(self, image: str, folder: Path, where: str) -> str:
        if self._size >= _ALL:
            return self._leave_out(f"the page has {_ALL >> 20} MiB of them already", where)
        try:
            data = _bytes_of(image, folder)
        except (OSError, ValueError, binascii.Error):
            return self._leave_out("the file is not there, or cannot be read", where)
        try:
            made = _thumbnail(data)
        except Exception:  # of a decoder, on bytes from anywhere: Pillow raises some twenty kinds
            return self._leave_out("not a picture that can be read", where)
        self._size += len(made)
        return made

    def _leave_out(self, reason: str, where: str) -> str:
        number, first = self.left_out.get(reason, (0, where))
        self.left_out[reason] = (number + 1, first)
        return ""


def _bytes_of(image: str, folder: Path) -> bytes:
    if image.startswith("data:"):
        head, _, body = image.partition(",")
        if not head.endswith(";base64"):
            raise ValueError("a data URI without base64")
        return base64.b64decode(body, validate=True)
    path = next((path for path in (folder / image, Path(image)) if path.is_file()), None)
    if path is None or path.stat().st_size > _LARGEST:
        raise OSError(image)
    return path.read_bytes()


def _thumbnail(data: bytes) -> str:
    with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if picture.width * picture.height > _LARGEST:
            raise ValueError("too many pixels")
        picture.draft("RGB", (_SIDE, _SIDE))  # JPEG is decoded at a smaller size
        small = picture.convert("RGB")
        small.thumbnail((_SIDE, _SIDE))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode("ascii")
