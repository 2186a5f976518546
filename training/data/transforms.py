"""Image transforms of evaluation, and those that training shares: decode to RGB over white, resize and normalize.

Evaluation uses the center square; `training.data.random_crop` has the crop of training. The loader produces uint8
images; `normalize_pixels` runs on the model's device, so that only a quarter of the bytes are moved.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from curation.errors import InputError
from curation.io.failures import first_line

Box = tuple[float, float, float, float]
Pixels = npt.NDArray[np.uint8]

# Mean and standard deviation of CLIP's training images (arXiv 2103.00020), also used by Meta CLIP.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def decode(data: bytes | memoryview) -> Image.Image:
    """Decode an image to upright RGB over white. Raises InputError if it cannot be decoded."""
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        layer = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except Exception as error:  # decoders raise exceptions of nearly any type on damaged bytes
        raise InputError(f"the image cannot be decoded: {first_line(error)}") from error
    if layer.mode == "RGB":
        return layer
    flat = Image.new("RGB", layer.size, "white")
    flat.paste(layer, mask=layer)
    return flat


def resize(image: Image.Image, box: Box, size: int) -> Pixels:
    """Return the box (left, top, right, bottom) of an RGB image, resized bicubically to (size, size, 3)."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))


def center_box(width: int, height: int) -> Box:
    """Return the largest centered square."""
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def normalize_pixels(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 images (n, height, width, 3) to float32 (n, 3, height, width), normalized as in CLIP."""
    mean = torch.tensor(MEAN, device=images.device)
    std = torch.tensor(STD, device=images.device)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def processor_config(size: int) -> dict[str, object]:
    """Return a `preprocessor_config.json` that makes Hugging Face's image processor match the evaluation transform."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": int(Image.Resampling.BICUBIC),
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }
