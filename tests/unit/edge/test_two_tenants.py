"""Two tenants do as they like, in any order; neither sees, changes or detects what is the other's (T2, I13)."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from speech.apikeys import SCOPES
from speech.ports import ApiKeyRecord
from tests.support.edge import Edge, event

TENANTS = st.sampled_from(["default", "acme"])
KEYS = st.sampled_from(["one", "two"])


class TwoTenants(RuleBasedStateMachine):
    """Whose API key a request carries is all that tells them apart."""

    made = Bundle("made")

    @initialize()
    def begin(self) -> None:
        self.edge = Edge()
        self.edge.check_api_key = self.whose  # type: ignore[assignment]  # a key is its tenant's name here
        self.jobs: dict[str, dict[str, str]] = {"default": {}, "acme": {}}

    def whose(self, authorization: str | None, scope: str) -> ApiKeyRecord:
        return ApiKeyRecord(
            tenant=(authorization or "").removeprefix("Bearer "),
            key_id="k",
            secret_hash="",
            scopes=SCOPES,
            created_at=0,
        )

    def call(self, name: str, tenant: str, path: str | None = None, **changes: Any) -> tuple[int, dict[str, Any]]:
        sample = event(name)
        sample["headers"]["authorization"] = f"Bearer {tenant}"
        sample["headers"]["idempotency-key"] = changes.pop("key", "")
        if path:
            sample["rawPath"] = sample["requestContext"]["http"]["path"] = path
        answer = self.edge.call("jobs_api", sample | changes)
        return answer["statusCode"], json.loads(answer.get("body") or "{}")

    @rule(target=made, tenant=TENANTS, key=KEYS)
    def post(self, tenant: str, key: str) -> tuple[str, str]:
        body = json.dumps({"text": f"{tenant} speaks."})
        status, job = self.call("api_post_job", tenant, key=key, body=body)
        if status == 409:
            assert job["code"] == "job-erased"
            return tenant, self.jobs[tenant][key]
        assert status == 202
        assert job["id"] not in {other for name, jobs in self.jobs.items() if name != tenant for other in jobs.values()}
        self.jobs[tenant][key] = job["id"]
        return tenant, str(job["id"])

    @rule(job=made, tenant=TENANTS, what=st.sampled_from(["api_get_job", "api_cancel_job", "api_delete_job"]))
    def ask(self, job: tuple[str, str], tenant: str, what: str) -> None:
        owner, job_id = job
        before = self.everything()
        path = f"/v1/jobs/{job_id}" + ("/cancel" if what == "api_cancel_job" else "")
        status, answer = self.call(what, tenant, path)
        if tenant == owner:
            assert status in (200, 204, 404)
            return
        nobodys = self.call(what, tenant, path.replace(job_id, "job_01JD0000000000000000000000"))
        assert (status, answer) == nobodys
        assert status == 404
        assert self.everything() == before

    @rule(tenant=TENANTS, key=KEYS)
    def look_up(self, tenant: str, key: str) -> None:
        status, answer = self.call("api_list_jobs", tenant, queryStringParameters={"request_id": key})
        assert status == 200
        assert {job["id"] for job in answer["jobs"]} <= {self.jobs[tenant].get(key)}

    @invariant()
    def every_row_and_text_is_its_owners(self) -> None:
        for job in self.edge.store.jobs():
            assert job.id in self.jobs[job.tenant].values()
        for (tenant, _), text in self.edge.texts.texts.items():
            assert text.startswith(tenant.encode())

    def everything(self) -> Any:
        store = self.edge.store
        return deepcopy([store.jobs(), store._segments, store._deliveries, store._cleanups, self.edge.texts.texts])


TestTwoTenants = TwoTenants.TestCase
TestTwoTenants.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
