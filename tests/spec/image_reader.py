"""A second reader of old images, written from docs/spec/image.md and the pages it names alone: no code of
deltaseal, slow and plain. What it gives is what the second decoder of deltas takes (delta_reader.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spec import image_reader_elf, image_reader_macho
from spec.delta_reader import OldImage as Image
from spec.delta_reader import Reference, Region
from spec.image_reader_model import Building

LARGEST, REGIONS, B = 0xFFFF0000, 4096, 2**55


def parse(data: bytes, parts: Sequence[int] = ()) -> Image:
    """Regions by address, references by offset; none of either for what is no image. ``parts``: sizes of the
    files that it is made of.
    """
    if len(data) > LARGEST:
        return Image()
    return join(data, parts) if parts else parse_one(data)


def join(data: bytes, sizes: Sequence[int]) -> Image:
    whole, starts, words, o = Image(), bytearray(len(data)), set[int](), 0
    for p, size in enumerate(sizes):
        part = parse_one(data[o : o + size])
        if len(whole.regions) + len(part.regions) <= REGIONS:
            words |= {len(whole.regions) + number for number in part.of_words}
            whole.regions.extend(moved_region(r, p, o) for r in part.regions)
            whole.references.extend(moved_reference(r, part, p, o, size) for r in part.references)
            whole.lists.extend(
                (base + (p << 61) & 2**64 - 1, [o + at for at in named]) for base, named in part.lists
            )
            whole.list_tables.extend((o + at, size) for at, size in part.list_tables)
            whole.functions.extend(o + at for at in part.functions)
            starts[o : o + len(part.starts)] = part.starts
        o += size
    return replace(whole, starts=bytes(starts), of_words=frozenset(words))


def moved_region(region: Region, p: int, o: int) -> Region:
    return replace(
        region, offset=region.offset + (o if region.has_bytes else 0), address=region.address + (p << 61)
    )


def moved_reference(reference: Reference, part: Image, p: int, o: int, size: int) -> Reference:
    t, shift = reference.target, 0
    if any(region.address <= t <= region.address + region.size for region in part.regions):
        shift = p << 61
    elif B <= t < B + size:
        shift = o
    target, base = (address + shift & 2**64 - 1 for address in (t, reference.base))
    return replace(reference, offset=reference.offset + o, target=target, base=base)


def parse_one(data: bytes) -> Image:
    image = Building(data)
    if image_reader_elf.claims(data):
        image_reader_elf.read_elf(image)
    else:
        image_reader_macho.read_macho(image)
    return image.settle()
