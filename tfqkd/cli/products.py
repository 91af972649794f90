"""`bin/products`: shows what a run keeps, and removes what nothing uses."""

import pathlib
import sys
import time
from collections.abc import Sequence

from tfqkd.cli.command import Command
from tfqkd.cli.evaluate import require_run_directory


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command = Command(
        "products",
        "Lists what the stages of a run or study have left in its products directory, with size, age and who "
        "uses it: the run, or another one in or beside the run directory. With --prune removes what nothing "
        "uses.",
        (
            "bin/products --run_dir=runs/cifar100",
            "bin/products --run_dir=runs/cifar100 --prune",
        ),
    )
    values = command.flags
    what = command.group("what to show")
    what.text("run_dir", "The directory that holds `products`.")
    what.switch(
        "prune",
        "Remove the products that nothing uses. What a run uses or a process makes stays. A run that "
        "is elsewhere and shares these products is not known: move it beside this one first.",
    )

    def run_it() -> None:
        directory = require_run_directory(values.run_dir)
        if values.prune:
            _prune(directory)
        elif _show(directory):
            command.print_next("products", f"--run_dir={directory}", "--prune")

    return command.main(argv, run_it)


def _show(directory: pathlib.Path) -> bool:
    """Prints the products; returns whether nothing uses one of them."""
    from tfqkd.reporting.inventory import inventory
    from tfqkd.tables import Table

    products = inventory(directory)
    headings = ("product", "role", "stage", "size", "age", "used by")
    table = Table(*headings, text=("role", "stage", "used by"))
    for product in products:
        by = "a process at work" if product.locked else "nothing"
        if product.users:
            more = len(product.users) - 1
            by = product.users[0] + (f" and {more} more" if more else "")
        age = _age(time.time() - product.modified)
        table.add(product.path.name, product.role, product.stage, _size(product.bytes), age, by)
    idle = [product for product in products if product.idle]
    print(table)
    print(
        f"\n{len(products)} products, {_size(sum(each.bytes for each in products))}; nothing uses "
        f"{len(idle)} of them, {_size(sum(each.bytes for each in idle))}."
    )
    return bool(idle)


def _prune(directory: pathlib.Path) -> None:
    from tfqkd.reporting.inventory import prune

    removed = prune(directory)
    for product in removed:
        print(f"Removed {product.path.name} ({product.role}), {_size(product.bytes)}.")
    print(f"{len(removed)} products removed, {_size(sum(each.bytes for each in removed))} freed.")


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "now"


if __name__ == "__main__":
    sys.exit(main())
