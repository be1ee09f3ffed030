"""Take out of an installed tree what never runs in a function: tests, headers, stubs, scripts, records."""

import shutil
import sys
from pathlib import Path

FOLDERS = ("tests", "__pycache__", "include", "bin")
FILES = ("*.pyi", "*.a", "*.pxd", "*.pyx", "*.h", "RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json")


def slim(tree: Path) -> None:
    """Licences and METADATA stay: the first must travel with the code, the second answers importlib.metadata."""
    for name in FOLDERS:
        for folder in sorted(tree.rglob(name)):
            if folder.is_dir():
                shutil.rmtree(folder)
    for pattern in FILES:
        for file in sorted(tree.rglob(pattern)):
            file.unlink()


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
