"""A second reader of old images, written from docs/spec/image.md and the pages it names alone: no code of
deltaseal, slow and plain. What it gives is what the second decoder of deltas takes (delta_reader.py).
"""

from __future__ import annotations

from spec import image_reader_elf, image_reader_macho
from spec.delta_reader import OldImage as Image
from spec.image_reader_model import Building

LARGEST = 0xFFFF0000


def parse(data: bytes) -> Image:
    """Regions by address, references by offset; none of either for what is no image."""
    if len(data) > LARGEST:
        return Image()
    image = Building(data)
    if image_reader_elf.claims(data):
        image_reader_elf.read_elf(image)
    else:
        image_reader_macho.read_macho(image)
    return image.settle()
