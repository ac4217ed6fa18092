"""Adds up the result files of several pytest processes, names the slowest tests, and prints one closing line."""

import sys
from pathlib import Path
from xml.etree import ElementTree

SLOWEST = 25
COUNTS = ("tests", "failures", "errors", "skipped")


def main(paths: list[str]) -> int:
    """Prints `N passed, N failed, N skipped` over all files; the exit code is 1 where one failed, lacks or ran none."""
    lacking = [path for path in paths if not Path(path).is_file()]
    suites = {path: _suites(path) for path in paths if path not in lacking}
    print(f"the {SLOWEST} slowest:")
    for seconds, line in sorted(_cases(suites), reverse=True)[:SLOWEST]:
        print(f"{seconds:7.1f} s  {line}")
    for path, found in suites.items():
        print(f"{sum(float(suite.get('time', 0)) for suite in found) / 60:7.1f} min  {Path(path).stem}")
    for path in lacking:
        print(f"{path} was not written: its process ended before its tests did")
    counts = {key: sum(int(suite.get(key, 0)) for found in suites.values() for suite in found) for key in COUNTS}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    print(f"{passed} passed, {failed} failed, {counts['skipped']} skipped")
    return int(bool(lacking) or failed > 0 or passed <= 0)


def _suites(path):
    return list(ElementTree.parse(path).getroot().iter("testsuite"))


def _cases(suites):
    for path, found in suites.items():
        for suite in found:
            for case in suite.iter("testcase"):
                name = f"{case.get('classname')}::{case.get('name')}"
                yield float(case.get("time", 0)), f"{name} ({Path(path).stem})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
