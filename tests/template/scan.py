"""Let checkov judge the translated template, and compare what it finds with what we accept, in both directions.

`python -m tests.template.scan path/to/checkov`. Checkov has an environment of its own, for it pins what it stands on.
It asks nothing of the network.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tests.template.check import VARIANTS
from tests.template.translated import TEMPLATE, decided, sam_template, translate

VARIANT = "with everything set"
"""Under a key of one's own. By the defaults AWS manages the keys, which our own rules know to be encryption too."""

BUCKETS, FUNCTIONS = r"AWS::S3::Bucket\.\w+", r"AWS::Lambda::Function\.\w+"

ACCEPTED = {
    "CKV_AWS_18": (
        BUCKETS,
        (
            "Access logs would hold the names of everybody's files, in one more bucket that this rule would find. "
            "Who wants them turns on data events of CloudTrail."
        ),
    ),
    "CKV_AWS_21": (
        r"AWS::S3::Bucket\.WorkBucket",
        "Old versions would keep texts that were erased. What lies in the work bucket expires, and can be made again.",
    ),
    "CKV_AWS_115": (
        FUNCTIONS,
        (
            "Reserved concurrency is taken from the account, and new accounts have 10 in all. "
            "Queues cap their readers, and the API throttles."
        ),
    ),
    "CKV_AWS_116": (
        FUNCTIONS,
        (
            "A function's own dead letter queue is for asynchronous calls. The one function that is called so sends "
            "its failures to `SweepFailuresQueue`; every queue has `DeadLetterQueue`."
        ),
    ),
    "CKV_AWS_117": (
        FUNCTIONS,
        (
            "There is nothing in a private network to reach. The way out of one to the vendors, a NAT gateway, costs "
            "more than all the rest of an idle stack."
        ),
    ),
}
"""Rule → the resources it may name, and why that stays as it is. At most five; docs/security.md shows them."""


def unexpected(report: dict[str, Any]) -> Iterator[str]:
    """A sentence for each finding that nobody accepted, and for each accepted one that is no more."""
    if report["summary"]["parsing_errors"]:
        yield "checkov could not read the template"
    found = [(each["check_id"], each["resource"], each["check_name"]) for each in report["results"]["failed_checks"]]
    for rule, resource, says in found:
        if rule not in ACCEPTED or not re.fullmatch(ACCEPTED[rule][0], resource):
            yield f"{resource}: {says} ({rule})"
    yield from _no_more({rule for rule, _, _ in found})


def _no_more(found: Iterable[str]) -> Iterator[str]:
    for rule in ACCEPTED.keys() - set(found):
        yield f"{rule} finds nothing: either it need not be accepted any more, or checkov did not look"


def main(checkov: str) -> int:
    """Print every unexpected finding; 1 when there is one."""
    target = TEMPLATE.parent / "build" / "decided.json"
    target.parent.mkdir(exist_ok=True)
    document = decided(translate(sam_template()), VARIANTS[VARIANT])
    target.write_text(json.dumps(document, indent=1), encoding="utf-8")
    said = subprocess.run(
        [checkov, "-f", str(target), "--framework", "cloudformation", "--skip-download", "--output", "json", "--quiet"],
        check=False,  # it ends with 1 when it finds anything, accepted or not
        capture_output=True,
        text=True,
    )
    try:
        report = json.loads(said.stdout)
        findings = list(unexpected(report))
    except (ValueError, KeyError, TypeError):
        sys.stderr.write(f"checkov said what cannot be understood:\n{said.stdout[:500]}\n{said.stderr[-2000:]}\n")
        return 1
    for finding in findings:
        sys.stdout.write(f"checkov: {finding}\n")
    passed, failed = report["summary"]["passed"], len(report["results"]["failed_checks"])
    sys.stdout.write(
        f"checkov: {passed} checks passed, {failed} findings by {len(ACCEPTED)} rules are accepted, "
        f"{len(findings)} are not\n"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
