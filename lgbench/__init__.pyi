from .drafts import open_suite as open_suite
from .errors import LgbenchError as LgbenchError
from .errors import ModelError as ModelError
from .evaluation import evaluate as evaluate
from .models.contract import CappedReply as CappedReply
from .models.contract import Predictor as Predictor
from .models.loaded import Model as Model
from .models.loading import load_model as load_model
from .rescoring import Rescored as Rescored
from .rescoring import rescore as rescore
from .results import Result as Result
from .running.loop import Progress as Progress
from .suites import Suite as Suite
from .suites import load_suite as load_suite
from .task import Example as Example
from .training_data import training_stream as training_stream
from .version import __version__ as __version__

__all__: list[str]
