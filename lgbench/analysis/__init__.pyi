from .errors import ErrorsRecord as ErrorsRecord
from .errors import analyze_errors as analyze_errors
from .records import read_analysis as read_analysis

__all__: list[str]
