"""Protobuf's wire format, for the few messages that are written without its library.

Source: https://protobuf.dev/programming-guides/encoding/
"""

_BYTES = 2  # the wire type of everything that has a length


def field(number: int, content: bytes) -> bytes:
    """A field of bytes: its tag, its length, its content."""
    return varint(number << 3 | _BYTES) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A number in base 128, its lowest seven bits first; the top bit tells that more follow."""
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)
