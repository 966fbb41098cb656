"""Generates `first_form.parquet`: a backup in the form that was written until 2026-11-25.

    python tests/python/backups/generate_first_form.py OUTPUT

Run it with the package as it was at commit c311ef6: each sync appended a row group and a whole footer, and the footers
before stayed in the file. Five calls give five row groups, and the end is torn, as a crash leaves it. Later versions write
another form, so the output is checked in beside this script.
"""

from __future__ import annotations

import sys
from pathlib import Path

from clarifai_annotations.emulator import Emulator

CALLS = 5
PER_CALL = 7


def main(output: Path) -> None:
    """Delete annotations in several calls with one backup, then tear its end."""
    with Emulator() as emulator, emulator.client() as client:
        for call in range(CALLS):
            emulator.add_input(f"input-{call}")
            names = [f"annotation-{call}-{number}" for number in range(PER_CALL)]
            for name in names:
                emulator.add_annotation(f"input-{call}", name)
            client.delete_annotations([f"input-{call}"] * PER_CALL, names, backup=output)
    with output.open("ab") as file:
        file.write(b"\x15\x04the beginning of a row group")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
