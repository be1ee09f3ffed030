"""Check the translated template: cfn-lint, then our own rules, by the defaults and with everything set."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.template.rules import RULES, Stack
from tests.template.translated import REGION, TEMPLATE, decided, sam_template, translate

VARIANTS: dict[str, dict[str, Any]] = {
    "by the defaults": {},
    "with everything set": {
        "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/own",
        "CallbackBaseUrl": "https://callbacks.example.com",
        "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms",
        "Architecture": "arm64",
        "Runtime": "python3.12",
        "MediaLayer": "true",
    },
}


def main() -> int:
    """Print every breach; 1 when there is one."""
    document = translate(sam_template())
    target = TEMPLATE.parent / "build" / "translated.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, indent=1), encoding="utf-8")
    lint = subprocess.run(
        [str(Path(sys.executable).parent / "cfn-lint"), "-r", REGION, "-t", str(target)], check=False
    ).returncode
    breaches = [
        f"{variant}: {breach} ({rule.__name__})"
        for variant, parameters in VARIANTS.items()
        for rule in RULES
        for breach in rule(Stack(decided(document, parameters)))
    ]
    for breach in breaches:
        sys.stdout.write(f"{breach}\n")
    verdict = "clean" if lint == 0 else "not clean"
    sys.stdout.write(f"template: {len(RULES)} rules, {len(breaches)} breaches; cfn-lint {verdict}\n")
    return 1 if lint or breaches else 0


if __name__ == "__main__":
    sys.exit(main())
