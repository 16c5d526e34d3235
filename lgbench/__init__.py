"""The benchmark for length generalization transfer.

Does a model that learned a task on short inputs solve longer ones because a related task was trained on longer
inputs? The command line is `lgbench`; this is the same from Python:

    result = lgbench.evaluate(MyModel(), suite="mini-v1")
"""

import lazy_loader

# Names are imported on first use, so that `lgbench --help` does not wait for NumPy and pydantic. __init__.pyi has them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
