"""`camss-ros verify-parity`."""

from pathlib import Path

import typer


def verify_parity(
    directory: Path = typer.Argument(..., help="Folder of recorded official numbers."),
) -> None:
    """Reproduce recorded numbers of the official implementation; exit code 1 if any is off."""
    from rich.console import Console
    from rich.table import Table

    from camss_ros.lab import parity

    results = parity.verify_parity(directory)
    table = Table("stage", "max rel. error", "limit", "", "note", title=str(directory))
    for result in results:
        verdict = "[green]pass" if result.passed else "[red]FAIL"
        table.add_row(
            result.stage, f"{result.error:.1e}", f"{result.limit:g}", verdict, result.note
        )
    console = Console()
    console.print(table)
    failed = [result.stage for result in results if not result.passed]
    if failed:
        console.print(f"{len(failed)} of {len(results)} stages failed: {', '.join(failed)}")
        raise typer.Exit(1)
    console.print(f"all {len(results)} stages passed")
