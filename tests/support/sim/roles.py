"""IAM, as far as the roles of the template tell: no call that the role of its function does not allow."""

import re
from collections.abc import Mapping
from typing import Any

from local.template import Template
from tests.support.sim.watch import require
from tests.template.permissions import granted, needed_for
from tests.template.rules import Stack
from tests.template.translated import decided, sam_template, translate

KINDS = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::Events::EventBus")


class Roles:
    """`allowed` is, for a function, an action and a resource, where in the resource it is allowed."""

    def __init__(self, template: Template, secrets: Mapping[str, Any]) -> None:
        stack = Stack(decided(translate(sam_template())))
        self._logical_ids = {
            **{template.name(logical_id): logical_id for logical_id, _ in template.resources(*KINDS)},
            **{arn: arn.rpartition(":")[2] for arn in secrets},
        }
        self.allowed: dict[tuple[str, str, str], list[re.Pattern[str]]] = {}
        for logical_id in stack.functions:
            folder = re.sub(r"(?<!^)(?=[A-Z])", "_", logical_id.removesuffix("Function")).lower()
            for each in granted(stack, logical_id):
                pattern = re.compile(".*".join(map(re.escape, each.inside.split("*"))), re.DOTALL)
                self.allowed.setdefault((folder, each.action, each.resource), []).append(pattern)

    def asked(self, function: str, service: str, operation: str, params: Mapping[str, Any]) -> None:
        """A function makes a call. Raises Violated unless its role allows all that AWS would look for."""
        for action, name, inside in needed_for(service, operation, params):
            self._needs(function, action, name, inside)
            if operation in ("GetObject", "HeadObject"):  # what is gone is to be told from what is forbidden
                self._needs(function, "s3:ListBucket", name, "")

    def _needs(self, function: str, action: str, name: str, inside: str) -> None:
        resource = self._logical_ids[name]
        patterns = self.allowed.get((function, action, resource), [])
        allows = any(pattern.fullmatch(inside) for pattern in patterns)
        require(allows, "T9", lambda: f"{function} may not {action} on {resource}/{inside}")
