"""anyudf."""

from anyudf._native import VERSION as __version__
from anyudf.functions import Function, invocation, udf
from anyudf.serving import serve

__all__ = ["Function", "__version__", "invocation", "serve", "udf"]
