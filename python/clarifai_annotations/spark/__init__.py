"""Delete annotations that a Spark DataFrame names, from where they are.

>>> from clarifai_annotations.spark import delete_annotations
>>> report = delete_annotations(doubtful, "s3a://labels/runs/2026-11-24")  # doctest: +SKIP
>>> report.outcomes.where("outcome = 'failed'").show()  # doctest: +SKIP

Both functions act at once and not lazily: a frame that deleted at every ``count()`` would be a trap. They work on Spark
3.5 and later, over Spark Connect too, and need ``pip install 'clarifai-annotations[spark]'`` on the driver and the
executors.
"""

try:
    import pyspark as _pyspark  # noqa: F401
    import pyspark.sql as _sql  # noqa: F401
except ImportError as _missing:
    raise ImportError(
        f"clarifai_annotations.spark needs PySpark ({_missing}): pip install 'clarifai-annotations[spark]'"
    ) from None

from .deletion import delete_annotations, delete_input_annotations
from .report import SparkDeleteReport, SparkDeletionError

__all__ = ["SparkDeleteReport", "SparkDeletionError", "delete_annotations", "delete_input_annotations"]
