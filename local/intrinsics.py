"""Reduce CloudFormation's intrinsic functions and conditions to literals.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class NotWired(Exception):
    """The template asks for something that the laptop cloud does not do."""


NO_VALUE = object()


@dataclass
class Resolver:
    """What names stand for. `known` answers Ref and GetAtt of resources: logical id → attribute → value."""

    parameters: Mapping[str, Any]
    pseudo: Mapping[str, str]
    rules: Mapping[str, Any]
    mappings: Mapping[str, Any]
    api_url: str
    known: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.conditions = {name: self._holds(rule) for name, rule in self.rules.items()}

    def resolve(self, value: Any) -> Any:
        """The value with every intrinsic replaced by what it stands for."""
        if isinstance(value, list):
            resolved = [self.resolve(each) for each in value]
            return [each for each in resolved if each is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref" or name.startswith("Fn::"):
                return self._intrinsic(name, argument)
        pairs = ((key, self.resolve(each)) for key, each in value.items())
        return {key: each for key, each in pairs if each is not NO_VALUE}

    def _intrinsic(self, name: str, argument: Any) -> Any:
        if name == "Fn::If":
            condition, then, otherwise = argument
            return self.resolve(then if self.conditions[condition] else otherwise)
        if name == "Fn::Sub":
            return self._sub(argument)
        argument = self.resolve(argument)
        match name:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                owner, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
                return self._attribute(owner, attribute)
            case "Fn::Join":
                return argument[0].join(map(str, argument[1]))
            case "Fn::Select":
                return argument[1][int(argument[0])]
            case "Fn::Split":
                return argument[1].split(argument[0])
            case "Fn::FindInMap":
                first, second, third = argument
                return self.resolve(self.mappings[first][second][third])
        raise NotWired(f"The template uses {name}, which the laptop cloud does not resolve.")

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        return self._attribute(name, "Ref")

    def _attribute(self, owner: str, attribute: str) -> str:
        try:
            return self.known[owner][attribute]
        except KeyError:
            raise NotWired(
                f"The template asks for {owner}.{attribute}, which the laptop cloud does not know."
            ) from None

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else argument

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in own:
                return str(self.resolve(own[name]))
            owner, dot, attribute = name.partition(".")
            return str(self._attribute(owner, attribute) if dot else self._ref(name))

        # The API's own address is written with its id, as there is no attribute for it in SAM.
        address = r"https://\$\{\w+\}\.execute-api\.\$\{AWS::Region\}\.(\$\{AWS::URLSuffix\}|amazonaws\.com)/?"
        return re.sub(r"\$\{([^}]+)\}", value, re.sub(address, self.api_url, text))

    def _holds(self, rule: Any) -> bool:
        ((name, argument),) = rule.items()
        match name:
            case "Condition":
                return self._holds(self.rules[argument])
            case "Fn::Equals":
                left, right = self.resolve(argument)
                return str(left) == str(right)
            case "Fn::And":
                return all(map(self._holds, argument))
            case "Fn::Or":
                return any(map(self._holds, argument))
            case "Fn::Not":
                return not self._holds(argument[0])
        raise NotWired(f"A condition uses {name}, which the laptop cloud does not resolve.")
