"""What checkov finds is what we accept: no more, and no less (T7, T9, T11)."""

import copy
from typing import Any

from tests.template.rules import KINDS
from tests.template.scan import ACCEPTED, unexpected
from tests.template.translated import TEMPLATE

A_RESOURCE = {
    "CKV_AWS_18": "AWS::S3::Bucket.TextsBucket",
    "CKV_AWS_21": "AWS::S3::Bucket.WorkBucket",
    "CKV_AWS_115": "AWS::Lambda::Function.SweepFunction",
    "CKV_AWS_116": "AWS::Lambda::Function.SweepFunction",
    "CKV_AWS_117": "AWS::Lambda::Function.SweepFunction",
}


def a_finding(rule: str, resource: str) -> dict[str, Any]:
    return {"check_id": rule, "resource": resource, "check_name": "Ensure that all is well"}


AS_ACCEPTED: dict[str, Any] = {
    "results": {"failed_checks": [a_finding(rule, resource) for rule, resource in A_RESOURCE.items()]},
    "summary": {"parsing_errors": 0},
}


def test_what_is_accepted_is_not_reported() -> None:
    assert list(unexpected(AS_ACCEPTED)) == []


def test_a_finding_of_another_rule_or_on_another_resource_is_reported() -> None:
    report = copy.deepcopy(AS_ACCEPTED)
    report["results"]["failed_checks"] += [
        a_finding("CKV_AWS_111", "AWS::IAM::Role.SweepRole"),
        a_finding("CKV_AWS_21", "AWS::S3::Bucket.TextsBucket"),
    ]

    assert [each.partition(":")[0] for each in unexpected(report)] == ["AWS", "AWS"]


def test_a_scanner_that_saw_nothing_is_reported() -> None:
    nothing: dict[str, Any] = {"results": {"failed_checks": []}, "summary": {"parsing_errors": 1}}

    assert len(list(unexpected(nothing))) == len(ACCEPTED) + 1


def test_at_most_five_rules_are_accepted_and_the_documents_say_why() -> None:
    page = (TEMPLATE.parent / "docs" / "security.md").read_text(encoding="utf-8")

    assert len(ACCEPTED) <= 5
    assert set(ACCEPTED) == set(A_RESOURCE)
    assert [f"| `{rule}` | {reason} |" for rule, (_, reason) in ACCEPTED.items() if reason not in page] == []
    assert {resource.partition(".")[0] for resource in A_RESOURCE.values()} <= KINDS
