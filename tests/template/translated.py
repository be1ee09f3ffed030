"""Our SAM template as the CloudFormation that AWS would make of it, without AWS."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
REGION = "us-east-1"

Document = dict[str, Any]


def sam_template() -> Document:
    """template.yaml as it is written."""
    from samtranslator.yaml_helper import yaml_parse

    document: Document = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return document


def translate(sam: Document) -> Document:
    """The SAM transform. Code is said to lie in S3, since the transform accepts no local folder."""
    from samtranslator.translator.transform import transform

    sam = copy.deepcopy(sam)
    for resource in sam["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = f"s3://code/{resource['Properties'][name]}"
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)  # the transform asks boto3 for the partition
    translated: Document = transform(sam, {}, _NoManagedPolicies())
    return translated


class _NoManagedPolicies:
    """Our roles are written out, so no AWS-managed policy has to be looked up."""

    def load(self) -> dict[str, str]:
        return {}


def decided(document: Document, parameters: Mapping[str, Any] | None = None) -> Document:
    """The document with parameters and conditions filled in: no Ref to a parameter, no Fn::If, no AWS::NoValue."""
    values = {name: parameter.get("Default", "") for name, parameter in document["Parameters"].items()}
    values |= parameters or {}
    conditions = {name: _condition(rule, values) for name, rule in document.get("Conditions", {}).items()}
    resources = {
        name: _filled(resource, values, conditions)
        for name, resource in document["Resources"].items()
        if conditions.get(resource.get("Condition"), True)
    }
    return {**document, "Resources": resources, "Outputs": _filled(document["Outputs"], values, conditions)}


_NOTHING = object()


def _condition(rule: Any, values: Mapping[str, Any]) -> bool:
    ((name, arguments),) = rule.items()
    if name == "Fn::Not":
        return not _condition(arguments[0], values)
    if name == "Fn::Equals":
        left, right = (values[side["Ref"]] if isinstance(side, dict) else side for side in arguments)
        return bool(left == right)
    raise NotImplementedError(f"{name} in a condition")


def _filled(node: Any, values: Mapping[str, Any], conditions: Mapping[str, bool]) -> Any:
    if isinstance(node, list):
        return [item for item in (_filled(item, values, conditions) for item in node) if item is not _NOTHING]
    if not isinstance(node, dict):
        return node
    if node == {"Ref": "AWS::NoValue"}:
        return _NOTHING
    if set(node) == {"Ref"} and node["Ref"] in values:
        return values[node["Ref"]]
    if set(node) == {"Fn::If"}:
        condition, yes, no = node["Fn::If"]
        return _filled(yes if conditions[condition] else no, values, conditions)
    items = {name: _filled(item, values, conditions) for name, item in node.items()}
    return {name: item for name, item in items.items() if item is not _NOTHING}
