"""Photographs from files: their own pixels, as they are."""

from __future__ import annotations

from pathlib import Path

from infinite_render.errors import DataError
from infinite_render.pixels import Pixels, srgb_pixels
from infinite_render.rendering.pyramid import vips


def read_photograph(path: Path) -> Pixels:
    """A photograph, upright, sRGB uint8 [h,w,3]: the very bytes of a file that has 8 bit of sRGB.

    Grey, CMYK, 16 bit, another colour profile and alpha (over white) become that.
    Raises DataError for a file that is none, or is damaged.
    """
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise DataError(f"{path} {what}; give a photograph, as JPEG, PNG, TIFF or WebP")
    pyvips = vips()
    try:
        image = pyvips.Image.new_from_file(str(path), fail_on="error").autorot()
        if _has_other_colours(image):
            from_print = {"input_profile": "cmyk"} if image.interpretation == "cmyk" else {}
            image = image.icc_transform("srgb", embedded=True, **from_print)
        return srgb_pixels(image)
    except pyvips.Error as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{path} cannot be read as a photograph ({reason}); give JPEG, PNG, TIFF or WebP"
        ) from None


def _has_other_colours(image: object) -> bool:
    """Whether a picture names colours that are not sRGB's, and how to get there."""
    if "icc-profile-data" not in image.get_fields():  # type: ignore[attr-defined]
        return bool(image.interpretation == "cmyk")  # type: ignore[attr-defined]
    profile: bytes = image.get("icc-profile-data")  # type: ignore[attr-defined]
    return b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile
