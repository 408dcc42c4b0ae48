"""`camss-ros doctor`."""

from __future__ import annotations

import typer


def doctor(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Check this machine for what the node needs; run it first, paste it into a bug report."""
    import dataclasses
    import json

    from rich.console import Console
    from rich.text import Text

    from camss_ros import __version__
    from camss_ros.doctor.examine import examine

    styles = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}
    console, progress = Console(soft_wrap=True), Console(stderr=True)
    findings = []
    with progress.status("checking; the first time graphs are built, for about a minute"):
        for finding in examine():
            findings.append(finding)
            if not as_json:
                level = Text(f"{finding.level:4} ", styles[finding.level])
                console.print(level + Text(f"{finding.check}: {finding.text}"))
                if finding.advice:
                    console.print(Text(f"     -> {finding.advice}"))
    works = all(finding.level != "FAIL" for finding in findings)
    if as_json:
        content = {
            "version": __version__,
            "works": works,
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        typer.echo(json.dumps(content, indent=2))
    else:
        verdict = "the node should work here" if works else "the node would NOT work here"
        console.print(Text(verdict, "green" if works else "bold red"))
    if not works:
        raise typer.Exit(1)
