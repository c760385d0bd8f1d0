def mask(
    data: bytes | bytearray | memoryview,
    key: bytes | bytearray | memoryview,
    offset: int = 0,
    /,
) -> bytes: ...
