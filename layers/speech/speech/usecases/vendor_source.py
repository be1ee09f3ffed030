"""Where use cases get a vendor's adapter from."""

from typing import Protocol

from speech.vendors.base import Vendor


class VendorSource(Protocol):
    def __call__(self, name: str, *, fresh_keys: bool = False) -> Vendor:
        """The adapter of a vendor, with its keys; read anew on request."""
        ...
