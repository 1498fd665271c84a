"""anyudf."""

from anyudf import _pyarrow  # noqa: F401, I001  a pyarrow that is too old is told of first
from anyudf._native import VERSION as __version__
from anyudf.functions import Function, invocation, udf
from anyudf.serving import serve

__all__ = ["Function", "__version__", "invocation", "serve", "udf"]
