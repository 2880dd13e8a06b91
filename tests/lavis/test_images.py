"""Picture files of every kind become what transformers' own processor makes of them, or a reason."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.image_utils import load_image
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from lavis.images import DamagedImage, read_image


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)


def saved(path, points, mode, **settings):
    image = Image.fromarray(points[..., : len(mode)] if len(mode) > 1 else points[..., 0])
    image.save(path, **settings)
    return path


KINDS = {
    "rgb.png": ("RGB", {}),
    "rgb.jpg": ("RGB", {"quality": 90}),
    "grey.png": ("L", {}),
    "grey.jpg": ("L", {}),
    "rgba.png": ("RGBA", {}),
    "progressive.jpg": ("RGB", {"progressive": True}),
}


@pytest.mark.parametrize("name", KINDS)
def test_normalisation_equals_transformers_own(name, points, tmp_path):
    mode, settings = KINDS[name]
    path = saved(tmp_path / name, points, mode, **settings)
    processor = BlipImageProcessorPil(size={"height": 24, "width": 24})
    ours = processor(read_image(path), return_tensors="pt")["pixel_values"]
    theirs = processor(load_image(str(path)), return_tensors="pt")["pixel_values"]
    assert ours.shape == (1, 3, 24, 24)
    assert torch.equal(ours, theirs)


def test_normalisation_is_rescaling_mean_and_deviation_of_clip(points, tmp_path):
    path = saved(tmp_path / "small.png", points[:24, :24], "RGB")
    processor = BlipImageProcessorPil(size={"height": 24, "width": 24})  # its own size: nothing is resized
    found = processor(read_image(path), return_tensors="pt")["pixel_values"][0]
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    expected = (torch.tensor(points[:24, :24, :3]).permute(2, 0, 1) / 255 - mean) / deviation
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_picture_is_turned_as_its_exif_says(points, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter clockwise
    path = saved(tmp_path / "turned.png", points, "RGB", exif=exif)
    turned = np.asarray(read_image(path))
    assert turned.shape == (60, 40, 3)
    assert np.array_equal(turned, np.rot90(points[..., :3], k=-1))


def test_a_truncated_file_is_told_with_its_name(points, tmp_path):
    whole = saved(tmp_path / "whole.jpg", points, "RGB").read_bytes()
    path = tmp_path / "half.jpg"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedImage, match=r"half.jpg: cannot be read as a picture: .*truncated"):
        read_image(path)


def test_a_file_that_is_no_picture_and_one_that_is_not_there_are_told(tmp_path):
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(DamagedImage, match="page.jpg: cannot be read as a picture"):
        read_image(tmp_path / "page.jpg")
    with pytest.raises(DamagedImage, match="none.jpg: no such file"):
        read_image(tmp_path / "none.jpg")
