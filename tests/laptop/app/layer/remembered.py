"""What the layer of the fixture holds."""

CALLS: list[str] = []
