"""Image files that PIL decodes to wrong pixels, or to a part of them, without an error: refused by name."""

import numpy as np
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    TiffImageFile,
)

from visiontasks.errors import InputError

_SUBFILE_TYPE, _IMAGE_DEPTH = 254, 32997  # tags that PIL has no names for
_NO_IMAGE_OF_ITS_OWN = 0b101  # a smaller copy, or a transparency mask
_COLOURS = {2: 3, 5: 4, 6: 3, 8: 3}  # bands of RGB, CMYK, YCbCr and Lab; grey and palettes have one
_ALPHA = (1, 2)  # associated, unassociated
_WHITE_IS_ZERO = 0
_SIGNED = 2
_SEPARATE = 2

_BMP_BITS_AT = 28
_MOST_PARTIAL = 0.05
"""Share of an alpha channel's pixels that may be neither opaque nor transparent: soft edges take few."""


def check_header(image: ImageFile.ImageFile) -> None:
    """Refuse a file that is opened, but not loaded yet, whose header tells that PIL would decode it wrongly.

    Raises:
        InputError: Without the file's name.
    """
    if isinstance(image, TiffImageFile):
        _check_bands(image)
        _check_bits(image)
    elif isinstance(image, BmpImageFile):
        _check_bmp(image)
    elif isinstance(image.info.get("transparency"), tuple) and is_16bit(image):
        raise InputError("16-bit colours with a transparent one, which PIL compares as 8 bits; save it with 8 bits")


def check_pages(image: ImageFile.ImageFile) -> None:
    """Refuse a TIFF that is a stack, or has its bands as pages; smaller copies behind the image are allowed.

    Args:
        image: Opened, but not loaded yet.

    Raises:
        InputError: Without the file's name.
    """
    if not isinstance(image, TiffImageFile):
        return
    if image.tag_v2.get(_IMAGE_DEPTH, 1) > 1:
        raise InputError(
            f"a volume of {image.tag_v2[_IMAGE_DEPTH]} slices, expected an image; save each slice as a file"
        )
    if not image.is_animated:
        return
    for page in range(1, image.n_frames):
        image.seek(page)
        if not image.tag_v2.get(_SUBFILE_TYPE, 0) & _NO_IMAGE_OF_ITS_OWN:
            raise InputError(
                f"{image.n_frames} pages, expected one image; save each page as a file (or the bands as one)"
            )
    image.seek(0)


def is_16bit(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is opened, but not loaded yet, has 16 bits a channel."""
    # PIL gives colours of 16 bits as 8; only what it is about to unpack tells. BGR;16 of a BMP has 5 bits a channel.
    unpacked = [str(tile[3]) for tile in image.tile]
    return image.mode.startswith("I") or any(";16" in text and "BGR;16" not in text for text in unpacked)


def may_have_band_as_alpha(image: Image.Image) -> bool:
    """Whether a file's format has bands of any meaning, of which PIL takes the last one for transparency."""
    return image.format in ("TIFF", "JPEG2000") and image.mode in ("RGBA", "RGBa", "LA")


def check_alpha(image: Image.Image) -> None:
    """Refuse a last band that does not look like transparency, whatever the header calls it.

    tifffile calls any fourth band of an RGB image unassociated alpha.

    Args:
        image: Loaded; see `may_have_band_as_alpha`.

    Raises:
        InputError: If more than 5 % of the pixels are neither opaque nor transparent, or none is opaque.
    """
    alpha = np.asarray(image.getchannel(image.getbands()[-1]))
    partial = float(((alpha > 0) & (alpha < 255)).mean())
    if partial <= _MOST_PARTIAL and (alpha == 255).any():
        return
    number = {2: "second", 4: "fourth"}[len(image.getbands())]
    raise InputError(
        f"its {number} band ({alpha.min()} to {alpha.max()} of 255, {partial:.0%} neither opaque nor transparent) does "
        "not look like transparency, which the header calls it; save the colours alone, or real transparency as PNG"
    )


def _check_bands(image: TiffImageFile) -> None:
    tags = image.tag_v2
    samples = tags.get(SAMPLESPERPIXEL, 1)
    extra = samples - _COLOURS.get(tags.get(PHOTOMETRIC_INTERPRETATION, 1), 1)
    kinds = tags.get(EXTRASAMPLES, ())
    if extra > 1 or (extra == 1 and kinds[:1] not in ((kind,) for kind in _ALPHA)):
        raise InputError(
            f"{samples} bands, of which PIL drops what is no colour; save it with 1 or 3 bands (a fourth one is read "
            "only as transparency)"
        )
    if image.mode == "La":
        raise InputError("grey premultiplied by its transparency, which PIL cannot convert; save it as PNG")


def _check_bits(image: TiffImageFile) -> None:
    tags = image.tag_v2
    bits = max(tags.get(BITSPERSAMPLE, (1,)))
    if bits == 8 and _SIGNED in tags.get(SAMPLEFORMAT, ()):
        raise InputError("signed 8-bit values, which PIL takes for unsigned ones; save it with unsigned values")
    if bits > 8 and tags.get(SAMPLESPERPIXEL, 1) > 1 and tags.get(PLANAR_CONFIGURATION) == _SEPARATE:
        raise InputError(
            f"{bits}-bit bands one after the other (planar), which PIL mixes up; save it with interleaved bands "
            "(tifffile: planarconfig='contig'), or as PNG"
        )
    if bits > 8 and tags.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
        raise InputError(f"{bits}-bit grey in which 0 is white, which PIL does not invert; save it with 0 as black")


def _check_bmp(image: BmpImageFile) -> None:
    """PIL takes the depth from the number of colours where they are grey."""
    if image.mode not in ("1", "L") or image.fp is None:
        return
    place = image.fp.tell()
    image.fp.seek(_BMP_BITS_AT)
    bits = int.from_bytes(image.fp.read(2), "little")
    image.fp.seek(place)
    if bits != {"1": 1, "L": 8}[image.mode]:
        raise InputError(f"a BMP of {bits} bits with few greys, which PIL decodes wrongly; save it as PNG")
