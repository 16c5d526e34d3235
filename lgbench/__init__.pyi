from .data.drafts import open_suite as open_suite
from .data.stream import training_stream as training_stream
from .data.suites import Suite as Suite
from .data.suites import load_suite as load_suite
from .data.task import Example as Example
from .evaluation.evaluator import evaluate as evaluate
from .evaluation.loop import Progress as Progress
from .evaluation.rescoring import Rescored as Rescored
from .evaluation.rescoring import rescore as rescore
from .models.contract import CappedReply as CappedReply
from .models.contract import Predictor as Predictor
from .models.loaded import Model as Model
from .models.loading import load_model as load_model
from .results.schema import Result as Result
from .util.errors import LgbenchError as LgbenchError
from .util.errors import ModelError as ModelError
from .version import __version__ as __version__

__all__: list[str]
