"""How the pace gives way to another program on the same quota, and comes back.

    python benches/pace.py && pip install matplotlib && python docs/plots.py

One call of ours goes on for fifty seconds against the emulator, which allows 15 requests in any second. Between the 15th second and the
30th another client sends five requests a second and does not insist. What the service saw is written to `pace.json`: for every tenth of
a second how many requests of each it had let through and how many it had throttled.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path

from clarifai_annotations.emulator import Emulator

HERE = Path(__file__).parent
QUOTA, BATCH, SECONDS = 15, 128, 50
OTHER_FROM, OTHER_TO, OTHER_EVERY = 15.0, 30.0, 0.2
LATENCY = 0.02


def counts(emulator: Emulator) -> list[int]:
    """Ours and the other's, let through and throttled."""
    seen = Counter((request.app_id, request.name == "CONN_THROTTLED") for request in emulator.requests)
    return [seen[app_id, throttled] for app_id in ("ours", "other") for throttled in (False, True)]


def other(emulator: Emulator, begin: float) -> None:
    """Send single deletions by REST at even intervals; what is refused is left."""
    url = f"{emulator.base_url}/v2/users/emulator-user/apps/other/inputs/photo/annotations/box"
    request = urllib.request.Request(url, method="DELETE", headers={"Authorization": "Key made-up"})
    at = OTHER_FROM
    while at < OTHER_TO:
        time.sleep(max(0.0, begin + at - time.monotonic()))
        with suppress(urllib.error.HTTPError):
            urllib.request.urlopen(request).close()
        at += OTHER_EVERY


def main() -> None:
    """Measure, and write the file."""
    count = QUOTA * BATCH * SECONDS
    with Emulator(requests_per_second=QUOTA, latency=LATENCY) as emulator:
        for n in range(count):
            emulator.add_annotation(f"photo-{n // 10}", f"box-{n}", app_id="ours")
        begin = time.monotonic()
        threading.Thread(target=other, args=(emulator, begin), daemon=True).start()
        seen: list[list[float]] = []

        def watch() -> None:
            while time.monotonic() - begin < SECONDS:
                seen.append([round(time.monotonic() - begin, 3), *counts(emulator)])
                time.sleep(0.1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        with emulator.client(app_id="ours") as client:
            input_ids, annotation_ids = (
                [f"photo-{n // 10}" for n in range(count)],
                [f"box-{n}" for n in range(count)],
            )
            report = client.delete_annotations(input_ids, annotation_ids)
        watcher.join()
    about = {"quota": QUOTA, "other_from": OTHER_FROM, "other_to": OTHER_TO, "throttled": report.throttled}
    columns = ["seconds", "ours", "ours_throttled", "other", "other_throttled"]
    (HERE / "pace.json").write_text(
        json.dumps(about | {"columns": columns, "seen": seen}) + "\n", encoding="utf-8"
    )
    print(f"{report.requests} requests, {report.throttled} throttled, {report.elapsed:.1f} s")


if __name__ == "__main__":
    main()
