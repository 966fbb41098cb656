"""An annotation service in this process, for tests, demos and benchmarks.

>>> from clarifai_annotations.emulator import Emulator
>>> with Emulator() as emulator:
...     emulator.add_annotation("photo-1", "box-7")
...     with emulator.client() as client:
...         client.delete_annotation("photo-1", "box-7")
...     [annotation.input_level for annotation in emulator.annotations()]
[True]
"""

from ._native import Emulator, Fault, RecordedRequest, StoredAnnotation, annotation_from_json

__all__ = ["Emulator", "Fault", "RecordedRequest", "StoredAnnotation", "annotation_from_json"]
