"""QR codes (ISO/IEC 18004, model 2): bytes at error correction level L, versions 1 to 20, as SVG.

An authenticator app enrols by scanning one, and Supabase Auth's enrolment answers with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Matrix = list[list[bool]]

# Per version from 1, at level L: error correction codewords in a block, and blocks (ISO/IEC 18004 table 9).
_CHECK_BYTES = (7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28)
_BLOCKS = (1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8)
_LEVEL_L = 0b01

_MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda x, y: (x + y) % 2 == 0,
    lambda x, y: y % 2 == 0,
    lambda x, y: x % 3 == 0,
    lambda x, y: (x + y) % 3 == 0,
    lambda x, y: (x // 3 + y // 2) % 2 == 0,
    lambda x, y: x * y % 2 + x * y % 3 == 0,
    lambda x, y: (x * y % 2 + x * y % 3) % 2 == 0,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2 == 0,
)


def _multiply(a: int, b: int) -> int:
    """In the Galois field of 256 elements modulo x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    for bit in range(7, -1, -1):
        product = (product << 1) ^ ((product >> 7) * 0x11D)
        product ^= ((b >> bit) & 1) * a
    return product


def _check_bytes(data: bytes, count: int) -> bytes:
    """The Reed-Solomon remainder of `data` by the generator with `count` roots."""
    generator = [0] * (count - 1) + [1]
    root = 1
    for _ in range(count):
        for index in range(count):
            following = generator[index + 1] if index + 1 < count else 0
            generator[index] = _multiply(generator[index], root) ^ following
        root = _multiply(root, 2)
    remainder = [0] * count
    for byte in data:
        factor = byte ^ remainder[0]
        remainder = [
            value ^ _multiply(coefficient, factor)
            for value, coefficient in zip([*remainder[1:], 0], generator, strict=True)
        ]
    return bytes(remainder)


def _raw_codewords(version: int) -> int:
    modules = (16 * version + 128) * version + 64
    if version >= 2:
        alignments = version // 7 + 2
        modules -= (25 * alignments - 10) * alignments - 55
        if version >= 7:
            modules -= 36
    return modules // 8


def _data_codewords(version: int) -> int:
    return _raw_codewords(version) - _CHECK_BYTES[version - 1] * _BLOCKS[version - 1]


def _fitting_version(length: int) -> int:
    for version in range(1, len(_BLOCKS) + 1):
        header = 4 + (8 if version < 10 else 16)
        if header + 8 * length <= 8 * _data_codewords(version):
            return version
    raise ValueError(f"{length} bytes do not fit in a QR code of version 20")


def _codewords(data: bytes, version: int) -> bytes:
    """Header, data and padding, cut into blocks, each with its check bytes, interleaved."""
    count_bits = 8 if version < 10 else 16
    bits = f"0100{len(data):0{count_bits}b}" + "".join(f"{byte:08b}" for byte in data)
    capacity = _data_codewords(version)
    bits += "0" * min(4, 8 * capacity - len(bits))
    bits += "0" * (-len(bits) % 8)
    padded = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    padded += bytes((0xEC, 0x11)[index % 2] for index in range(capacity - len(padded)))

    blocks, short = _BLOCKS[version - 1], capacity // _BLOCKS[version - 1]
    longer = capacity % blocks
    cut: list[bytes] = []
    at = 0
    for index in range(blocks):
        size = short + (1 if index >= blocks - longer else 0)
        cut.append(padded[at : at + size])
        at += size
    checks = [_check_bytes(block, _CHECK_BYTES[version - 1]) for block in cut]
    interleaved = [block[i] for i in range(short + 1) for block in cut if i < len(block)]
    interleaved += [check[i] for i in range(_CHECK_BYTES[version - 1]) for check in checks]
    return bytes(interleaved)


def _alignment_centres(version: int) -> list[int]:
    if version == 1:
        return []
    count = version // 7 + 2
    step = (version * 4 + count * 2 + 1) // (count * 2 - 2) * 2
    last = version * 4 + 10
    return sorted([6, *(last - step * index for index in range(count - 1))])


class _Grid:
    """The modules by row, and which of them are fixed patterns."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.size = version * 4 + 17
        self.dark: Matrix = [[False] * self.size for _ in range(self.size)]
        self.fixed: Matrix = [[False] * self.size for _ in range(self.size)]
        self._patterns()

    def _set(self, x: int, y: int, dark: bool) -> None:
        self.dark[y][x] = dark
        self.fixed[y][x] = True

    def _patterns(self) -> None:
        for index in range(self.size):
            self._set(6, index, index % 2 == 0)
            self._set(index, 6, index % 2 == 0)
        far = self.size - 4
        for centre_x, centre_y in ((3, 3), (far, 3), (3, far)):
            for y in range(max(0, centre_y - 4), min(self.size, centre_y + 5)):
                for x in range(max(0, centre_x - 4), min(self.size, centre_x + 5)):
                    self._set(x, y, max(abs(x - centre_x), abs(y - centre_y)) not in {2, 4})
        centres = _alignment_centres(self.version)
        corners = {(6, 6), (6, self.size - 7), (self.size - 7, 6)}
        for centre_x in centres:
            for centre_y in centres:
                if (centre_x, centre_y) not in corners:
                    for y in range(-2, 3):
                        for x in range(-2, 3):
                            self._set(centre_x + x, centre_y + y, max(abs(x), abs(y)) != 1)
        self.write_format(0)
        self._write_version()

    def write_format(self, mask: int) -> None:
        """Level and mask, with their BCH code, twice."""
        data = _LEVEL_L << 3 | mask
        remainder = data
        for _ in range(10):
            remainder = (remainder << 1) ^ ((remainder >> 9) * 0x537)
        bits = (data << 10 | remainder) ^ 0x5412
        beside = [(8, 0), (8, 1), (8, 2), (8, 3), (8, 4), (8, 5), (8, 7), (8, 8), (7, 8)]
        beside += [(14 - index, 8) for index in range(9, 15)]
        apart = [(self.size - 1 - index, 8) for index in range(8)]
        apart += [(8, self.size - 15 + index) for index in range(8, 15)]
        for places in (beside, apart):
            for index, (x, y) in enumerate(places):
                self._set(x, y, bool(bits >> index & 1))
        self._set(8, self.size - 8, True)

    def _write_version(self) -> None:
        if self.version < 7:
            return
        remainder = self.version
        for _ in range(12):
            remainder = (remainder << 1) ^ ((remainder >> 11) * 0x1F25)
        bits = self.version << 12 | remainder
        for index in range(18):
            dark = bool(bits >> index & 1)
            a, b = self.size - 11 + index % 3, index // 3
            self._set(a, b, dark)
            self._set(b, a, dark)

    def free(self) -> Iterator[tuple[int, int]]:
        """The places for codewords, in order: pairs of columns from the right, up and down in turn."""
        for right in range(self.size - 1, 0, -2):
            column = right - 1 if right <= 6 else right
            upward = (column + 1) & 2 == 0
            for step in range(self.size):
                y = self.size - 1 - step if upward else step
                for x in (column, column - 1):
                    if not self.fixed[y][x]:
                        yield x, y

    def write_codewords(self, codewords: bytes) -> None:
        bits = (byte >> bit & 1 for byte in codewords for bit in range(7, -1, -1))
        for (x, y), bit in zip(self.free(), bits, strict=False):  # up to seven places remain light
            self.dark[y][x] = bool(bit)

    def masked(self, mask: int) -> Matrix:
        self.write_format(mask)
        flip = _MASKS[mask]
        return [
            [self.dark[y][x] ^ (not self.fixed[y][x] and flip(x, y)) for x in range(self.size)]
            for y in range(self.size)
        ]


_FINDER_LIKE = ("10111010000", "00001011101")


def _penalty(matrix: Matrix) -> int:
    """How hard a pattern is to read (ISO/IEC 18004 section 7.8.3); the mask with the least is used."""
    size, score = len(matrix), 0
    for lines in (matrix, list(zip(*matrix, strict=True))):
        for line in lines:
            text = "".join("1" if dark else "0" for dark in line)
            runs = text.replace("01", "0 1").replace("10", "1 0").split()
            score += sum(len(run) - 2 for run in runs if len(run) >= 5)
            score += 40 * sum(text.startswith(_FINDER_LIKE, at) for at in range(size - 10))
    for y in range(size - 1):
        for x in range(size - 1):
            square = matrix[y][x], matrix[y][x + 1], matrix[y + 1][x], matrix[y + 1][x + 1]
            score += 3 * (len(set(square)) == 1)
    dark = sum(map(sum, matrix))
    return score + 10 * (abs(20 * dark - 10 * size * size) // (size * size))


def encode(text: str, mask: int | None = None) -> Matrix:
    """The modules of the smallest QR code for `text`, by row, True for dark, without the quiet zone.

    Raises `ValueError` beyond 858 bytes. Without `mask` (0 to 7) the most readable one is chosen.
    """
    data = text.encode()
    grid = _Grid(_fitting_version(len(data)))
    grid.write_codewords(_codewords(data, grid.version))
    if mask is not None:
        return grid.masked(mask)
    return min((grid.masked(candidate) for candidate in range(8)), key=_penalty)


def svg(text: str) -> str:
    """The QR code of `text` as an SVG image with its quiet zone of four modules."""
    matrix = encode(text)
    side = len(matrix) + 8
    path = "".join(f"M{x + 4},{y + 4}h1v1h-1z" for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}" shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0,0h{side}v{side}h-{side}z"/><path d="{path}"/></svg>'
    )
