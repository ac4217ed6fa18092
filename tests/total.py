"""Adds up the result files of several pytest processes and prints one closing line."""

import sys
from xml.etree import ElementTree


def main(paths: list[str]) -> int:
    """Prints `N passed, N failed, N skipped` over all files; the exit code is 1 where one failed or none ran."""
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for path in paths:
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            for key in counts:
                counts[key] += int(suite.get(key, 0))
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    print(f"{passed} passed, {failed} failed, {counts['skipped']} skipped")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
