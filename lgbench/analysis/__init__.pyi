from .errors import ErrorsRecord as ErrorsRecord
from .errors import analyze_errors as analyze_errors
from .heads import HeadsRecord as HeadsRecord
from .heads import analyze_heads as analyze_heads
from .opening import open_model as open_model
from .records import read_analysis as read_analysis
from .reuse import analyze_reuse as analyze_reuse
from .reuse_record import ReuseRecord as ReuseRecord
from .superposition import SuperpositionRecord as SuperpositionRecord
from .superposition import analyze_superposition as analyze_superposition

__all__: list[str]
