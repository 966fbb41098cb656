"""How much longer a process lives for importing the package: bare Python and the import, alternating.

python benches/import_time.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 40


def seconds(program: str) -> float:
    """Time a whole process that runs a program."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    seconds("import clarifai_annotations")  # the file caches
    bare, imported = [], []
    for _ in range(RUNS):
        bare.append(seconds("pass"))
        imported.append(seconds("import clarifai_annotations"))
    more = statistics.median(imported) - statistics.median(bare)
    print(f"bare Python {statistics.median(bare) * 1000:.1f} ms; the import adds {more * 1000:.1f} ms")
