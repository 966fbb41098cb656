"""Run by .ci/run where nothing but the wheel is installed: a deletion of each kind, and one taken back."""

import asyncio
import sys
import tempfile

import clarifai_annotations
from clarifai_annotations import IdError
from clarifai_annotations.emulator import Emulator

assert "site-packages" in clarifai_annotations.__file__, clarifai_annotations.__file__

with Emulator() as emulator:
    for annotation_id in ("a", "b", "c", "d"):
        emulator.add_annotation("photo", annotation_id)
    with emulator.client() as client:
        client.delete_annotation("photo", "a")
        assert client.delete_annotations(["photo"], ["b"]).deleted == 1

        async def awaited() -> None:
            await client.delete_annotation_async("photo", "c")

        asyncio.run(awaited())
        try:
            client.delete_annotations(["photo"], [])
        except IdError:
            pass
        else:
            sys.exit("an empty annotation_ids was not refused")
        left = [it.annotation_id for it in emulator.annotations() if not it.input_level]
        assert left == ["d"], left
        with tempfile.TemporaryDirectory() as folder:
            backup = f"{folder}/backup.parquet"
            assert client.plan_input_deletion(["photo"]).deletions == 1
            client.delete_input_annotations(["photo"], backup=backup, journal=f"{folder}/journal")
            assert all(it.input_level for it in emulator.annotations())
            assert client.restore_annotations(backup).restored == 1

print(f"Python {sys.version.split()[0]}: clarifai-annotations {clarifai_annotations.__version__} works")
