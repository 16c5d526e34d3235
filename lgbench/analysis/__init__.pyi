from .attention import AttentionRecord as AttentionRecord
from .attention import analyze_attention as analyze_attention
from .confidence import analyze_confidence as analyze_confidence
from .confidence_record import ConfidenceRecord as ConfidenceRecord
from .demonstrated import DemonstratedRecord as DemonstratedRecord
from .demonstrated import analyze_in_context as analyze_in_context
from .errors import ErrorsRecord as ErrorsRecord
from .errors import analyze_errors as analyze_errors
from .heads import HeadsRecord as HeadsRecord
from .heads import analyze_heads as analyze_heads
from .in_context_training import plan_in_context as plan_in_context
from .opening import open_model as open_model
from .points import PointsRecord as PointsRecord
from .points import analyze_points as analyze_points
from .prompted import analyze_prompted as analyze_prompted
from .prompted_record import PromptedRecord as PromptedRecord
from .records import read_analysis as read_analysis
from .relatedness import analyze_relatedness as analyze_relatedness
from .relatedness_record import RelatednessRecord as RelatednessRecord
from .reuse import analyze_reuse as analyze_reuse
from .reuse_record import ReuseRecord as ReuseRecord
from .superposition import SuperpositionRecord as SuperpositionRecord
from .superposition import analyze_superposition as analyze_superposition

__all__: list[str]
