"""Unwind tables of old images, from docs/spec/image-unwind.md."""

from __future__ import annotations

from dataclasses import dataclass

from spec.image_reader_model import MASK, Bad, Building, Cursor, Table

SIZES = {0: 8, 2: 2, 3: 4, 4: 8, 0xA: 2, 0xB: 4, 0xC: 8}
ULEB_FORMS = {1, 9}
OMITTED = 0xFF


@dataclass(frozen=True)
class Function:
    start: int
    exceptions: int


def size_of(encoding: int) -> int:
    return SIZES.get(encoding & 15, 0)


def pass_over(cursor: Cursor, encoding: int) -> int:
    """Where the pointer begins."""
    at = cursor.at
    if encoding >> 4 & 7 == 5:
        raise Bad
    if size_of(encoding):
        cursor.skip(size_of(encoding))
    elif encoding & 15 in ULEB_FORMS:
        cursor.uleb()
    else:
        raise Bad
    return at


def kind_of(encoding: int) -> str | None:
    if encoding == OMITTED or size_of(encoding) not in (4, 8) or encoding >> 4 & 7 > 1:
        return None
    return ("PREL" if encoding >> 4 & 7 else "ABS") + str(8 * size_of(encoding))


def add_pointer(image: Building, at: int, encoding: int) -> int:
    kind = kind_of(encoding)
    if kind is None or image.number(at, size_of(encoding)) == 0:
        return 0
    return image.add(kind, at)


@dataclass
class Cie:
    functions: int = 0
    exceptions: int = OMITTED
    has_data: bool = False
    unit: int = 0


def read_frames(image: Building, table: Table, functions: list[Function], *, ends_at_zero: bool) -> None:
    known: dict[int, Cie] = {}
    p = table.offset
    while p + 8 <= table.end:
        length = image.u32(p)
        if length == 0:
            if ends_at_zero:
                return
            p += 4
            continue
        if length < 4 or p + 4 + length > table.end:
            return
        number = image.u32(p + 4)
        cursor = Cursor(image.data, p + 8, p + 4 + length)
        if number == 0:
            cie = read_cie(image, cursor)
            if cie is not None:
                known[p] = cie
        elif number <= p + 4 - table.offset:
            image.add("BACK32", p + 4)
            owner = known.get(p + 4 - number)
            if owner is not None:
                read_fde(image, cursor, owner, functions)
        p += 4 + length


def read_cie(image: Building, cursor: Cursor) -> Cie | None:
    cie = Cie()
    try:
        version = cursor.u8()
        if version not in (1, 3, 4):
            return None
        augmentation = bytearray()
        while byte := cursor.u8():
            augmentation.append(byte)
        if augmentation and not augmentation.startswith(b"z"):
            return None
        if version == 4:
            cursor.skip(2)
        cie.unit = cursor.uleb()
        cursor.sleb()
        if version == 1:
            cursor.u8()
        else:
            cursor.uleb()
        if not augmentation:
            return cie
        cie.has_data = True
        cursor.cut(cursor.uleb())
        for letter in augmentation[1:].decode("latin-1"):
            if letter == "R":
                cie.functions = cursor.u8()
            elif letter == "L":
                cie.exceptions = cursor.u8()
            elif letter == "P":
                encoding = cursor.u8()
                add_pointer(image, pass_over(cursor, encoding), encoding)
            elif letter not in "SBG":
                return None
    except Bad:
        return None
    return cie


def read_fde(image: Building, cursor: Cursor, cie: Cie, functions: list[Function]) -> None:
    encoding = cie.functions
    kind = kind_of(encoding)
    if kind is None or encoding & 0x80:
        return
    try:
        start_at, size_at = pass_over(cursor, encoding), pass_over(cursor, encoding)
    except Bad:
        return
    start = image.add(kind, start_at)
    if image.number(size_at, size_of(encoding)):
        image.add("SIZE" + kind[-2:], size_at, start)
    exceptions = 0
    try:
        if cie.has_data:
            data = Cursor(image.data, cursor.at, cursor.end)
            data.cut(data.uleb())
            cursor.at = data.end
            exceptions = read_lsda_pointer(image, data, cie.exceptions)
        read_program(image, cursor, cie.unit, start)
    except Bad:
        pass
    functions.append(Function(start, exceptions))


def read_lsda_pointer(image: Building, cursor: Cursor, encoding: int) -> int:
    if encoding == OMITTED:
        return 0
    try:
        address = add_pointer(image, pass_over(cursor, encoding), encoding)
    except Bad:
        return 0
    return 0 if encoding & 0x80 else address


NUMBERS = {0x00: 0, 0x0A: 0, 0x0B: 0, 0x2C: 0, 0x2D: 0}
NUMBERS |= dict.fromkeys((0x06, 0x07, 0x08, 0x0D, 0x0E, 0x13, 0x2E), 1)
NUMBERS |= dict.fromkeys((0x05, 0x09, 0x0C, 0x11, 0x12, 0x14, 0x15, 0x2F), 2)
BLOCKS = {0x0F: 1, 0x10: 2, 0x16: 2}
STEPS = {0x02: 1, 0x03: 2, 0x04: 4}


def read_program(image: Building, cursor: Cursor, unit: int, location: int) -> None:
    if unit not in (1, 2, 4):
        return
    while cursor.at < cursor.end:
        at = cursor.at
        opcode = cursor.u8()
        kind, number = "", 0
        if opcode >> 6 == 1:
            kind, number = "STEP6", opcode & 63
        elif opcode >> 6 == 2:
            cursor.uleb()
        elif opcode >> 6 == 3:
            pass
        elif opcode in STEPS:
            at, size = cursor.skip(STEPS[opcode]), STEPS[opcode]
            kind, number = f"STEP{8 * size}", image.number(at, size)
        elif opcode in BLOCKS:
            for _ in range(BLOCKS[opcode]):
                size = cursor.uleb()
            cursor.skip(size)
        elif opcode in NUMBERS:
            for _ in range(NUMBERS[opcode]):
                cursor.uleb()
        else:
            return
        if number:
            image.put(at, kind, location + number * unit - 1, aux=unit // 2, base=location)
            location = location + number * unit & MASK


def read_header(image: Building, table: Table) -> int:
    """The address of the frames."""
    at = table.offset
    if table.size < 12 or image.data[at : at + 2] != b"\x01\x1b":
        return 0
    frames = add_pointer(image, at + 4, 0x1B)
    if image.data[at + 2 : at + 4] == b"\x03\x3b":
        base = table.address
        for field in range(2 * min(image.u32(at + 8), (table.size - 12) // 8)):
            image.add("BASE32", at + 12 + 4 * field, base)
    return frames


def read_exceptions(image: Building, functions: list[Function]) -> None:
    pairs = sorted((f.exceptions, f.start) for f in functions if f.exceptions)
    lowest: dict[int, int] = {}
    for address, start in pairs:
        lowest.setdefault(address, start)
    addresses = list(lowest)
    for number, address in enumerate(addresses):
        table = image.bytes_from(address)
        size = table.size
        if number + 1 < len(addresses):
            size = min(size, addresses[number + 1] - address)
        if table.size:
            try:
                cursor = Cursor(image.data, table.offset, table.offset + size)
                read_exception_table(image, cursor, lowest[address])
            except Bad:
                continue


SITES = {1: (0, "ULEB", "ULEB_SIZE"), **dict.fromkeys((3, 0xB), (4, "BASE32", "SIZE32"))}
SITES |= dict.fromkeys((0, 4, 0xC), (8, "BASE64", "SIZE64"))


def read_exception_table(image: Building, cursor: Cursor, start: int) -> None:
    landing, types_end = start, 0
    encoding = cursor.u8()
    if encoding != OMITTED:
        at = pass_over(cursor, encoding)
        if kind_of(encoding) is None:
            return
        landing = add_pointer(image, at, encoding)
    types = cursor.u8()
    if types != OMITTED:
        types_end = cursor.uleb()
        types_end += cursor.at
        if types_end > MASK:
            return
    form = cursor.u8()
    if form not in SITES:
        return
    sites_size = cursor.uleb()
    sites = Cursor(image.data, cursor.at, cursor.end)
    sites.cut(sites_size)
    if read_call_sites(image, sites, SITES[form], start, landing) and types != OMITTED:
        cursor.at = sites.end
        read_types(image, cursor, types, types_end)


def read_call_sites(
    image: Building, cursor: Cursor, form: tuple[int, str, str], start: int, landing: int
) -> bool:
    """Whether an action was not 0."""
    size, distance_kind, size_kind = form
    from_start, from_landing = start, landing
    has_actions = False

    def read() -> tuple[int, int, int]:
        at = cursor.at
        value = image.number(cursor.skip(size), size) if size else cursor.uleb()
        return value, at, cursor.at - at

    def add(kind: str, field: tuple[int, int, int], base: int) -> None:
        if size:
            image.add(kind, field[1], base)
        elif field[2] <= 4:
            image.add(f"{kind}{field[2]}", field[1], base)

    while cursor.at < cursor.end:
        fields = [read() for _ in range(3)]
        has_actions |= cursor.uleb() != 0
        add(distance_kind, fields[0], from_start)
        if fields[1][0]:
            add(size_kind, fields[1], start + fields[0][0])
        if fields[2][0]:
            add(distance_kind, fields[2], from_landing)
    return has_actions


def read_types(image: Building, cursor: Cursor, encoding: int, types_end: int) -> None:
    if kind_of(encoding) is None or not cursor.at <= types_end <= cursor.end:
        return
    size = size_of(encoding)
    room, entries = (types_end - cursor.at) // size, 0
    try:
        while cursor.at < types_end - entries * size:
            number = cursor.sleb()
            if number > entries:
                if number > room:
                    return
                entries = number
            cursor.sleb()
    except Bad:
        pass
    for entry in range(1, entries + 1):
        add_pointer(image, types_end - entry * size, encoding)
