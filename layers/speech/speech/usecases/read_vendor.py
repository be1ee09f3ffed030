"""Say what one vendor can do, and what its account has left where it tells."""

from dataclasses import dataclass
from typing import Any

from speech.errors import NotFound
from speech.health import Health
from speech.ports import JobStore
from speech.resource import timestamp
from speech.usecases.accept_job import VendorRules
from speech.usecases.list_vendors import ListVendors
from speech.usecases.list_voices import asked
from speech.usecases.vendor_source import VendorSource


@dataclass(frozen=True, slots=True)
class ReadVendor:
    vendors: VendorRules
    list_vendors: ListVendors
    source: VendorSource
    store: JobStore

    def __call__(self, name: str) -> dict[str, Any]:
        """The vendor as it stands in the list, and its `credits`. Raises NotFound, or what the vendor did."""
        if name not in self.vendors.VENDORS:
            raise NotFound("There is no vendor of that name; GET /v1/vendors lists them.")
        described = next(each for each in self.list_vendors()["vendors"] if each["name"] == name)
        left = None
        if self.vendors.capabilities(name).reports_credits:
            left = asked(self.source, name, lambda adapter: adapter.credits_left())
        return {**described, "health": _shown(self.store.health(name)), "credits": left}


def _shown(health: Health) -> dict[str, Any]:
    """Whether the vendor is called at present, and if not, why, and until when at least."""
    return {
        "state": "gone" if health.is_gone else "out" if health.is_open else "in",
        "reason": health.reason,
        "since": None if health.open_since is None else timestamp(health.open_since),
        "next_trial_at": timestamp(health.retry_at) if health.is_open else None,
        "closed_until": timestamp(health.closed_until) if health.closed_until else None,
    }
