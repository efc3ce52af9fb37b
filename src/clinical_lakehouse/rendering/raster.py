"""A chart as PNG for mail: mail programs show no SVG and know no CSS variables."""

import io
import re

import vl_convert
from PIL import Image

# One picture for light and dark: transparent, in tones that are read on both (3:1 and more on
# #ffffff and on #1a212b).
_TONES = {
    "surface": "none", "ink": "#748292", "soft": "#748292", "muted": "#8391a1", "grid": "#8391a133",
    "good": "#2f9a63", "watch": "#b9791a", "bad": "#dd5a50", "s1": "#2f86cf", "s2": "#dd6b1f",
    "s3": "#1f9c80", "s4": "#bb6aa6", "s5": "#b98a1c", "s6": "#4aa3df",
}  # fmt: skip
_COLOURS = 64
_VARIABLE = re.compile(r"var\(--([a-z0-9-]+)\)")


def as_png(svg: str, scale: float = 2.0) -> bytes:
    """The SVG of `charts` as PNG, `scale` pixels a unit; the same SVG gives the same bytes."""
    fixed = _VARIABLE.sub(lambda found: _TONES.get(found.group(1), "#748292"), svg)
    drawn = vl_convert.svg_to_png(fixed.replace("system-ui, sans-serif", "sans-serif"), scale=scale)
    # A chart has few colours: as a palette it takes a tenth of the bytes.
    packed = io.BytesIO()
    with Image.open(io.BytesIO(drawn)) as picture:
        few = picture.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)
        few.save(packed, "PNG", optimize=True)
    return packed.getvalue()
