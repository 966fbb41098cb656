"""Tells how large a wheel is, and fails where it is more than 6 MB: ``python .ci/wheel_size.py WHEEL``."""

import sys
from pathlib import Path

[wheel] = map(Path, sys.argv[1:])
size = wheel.stat().st_size / 1e6
print(f"{wheel.name}: {size:.2f} MB")
sys.exit("more than 6 MB" if size > 6 else 0)
