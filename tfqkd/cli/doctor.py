"""`bin/doctor`: what this machine has for tfqkd, and what is slow here."""

import sys
from collections.abc import Sequence

from tfqkd.cli.command import Command, print_json

_LISTED = 6
"""Packages that are named; of more there is only the number, but in JSON."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = Command(
        "doctor",
        "Prints the versions of what tfqkd builds on, the extras that are installed, the devices that each "
        "framework sees, and what makes trainings slow on this machine. Paste it into a bug report.",
        ("bin/doctor", "bin/doctor --output=json"),
    )
    command.choose_output(
        "`versions` by package, null where there is none; `missing`, lists of packages by extra; `devices` "
        "by framework; `advice`, a list of lines."
    )

    def run_it() -> None:
        # Loads rich, which --help needs not.
        from tfqkd.reporting.checkup import check_up
        from tfqkd.tables import Table

        found = check_up()
        if command.is_json:
            print_json(
                {
                    "versions": dict(found.versions),
                    "missing": {extra: list(names) for extra, names in found.missing.items()},
                    "devices": dict(found.devices),
                    "advice": list(found.advice),
                }
            )
            return
        table = Table("package", "version", "devices", text=("version", "devices"))
        for name, version in found.versions.items():
            table.add(name, version or "not installed", found.devices.get(name, ""))
        print(table)
        print()
        for extra, names in found.missing.items():
            print(f"extra {extra:8}  {_state(extra, names)}")
        print()
        for line in found.advice or ("Nothing is known to be slow here.",):
            print(f"- {line}")
        command.print_next("train", "--flagfile=configs/quickstart.flags")

    return command.main(argv, run_it)


def _state(extra: str, missing: Sequence[str]) -> str:
    if not missing:
        return "installed"
    listed = ", ".join(missing) if len(missing) <= _LISTED else f"{len(missing)} packages"
    return f"lacks {listed}: pip install 'tfqkd[{extra}]'"


if __name__ == "__main__":
    sys.exit(main())
