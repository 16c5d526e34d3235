"""What happens inside a model and what goes wrong: `lgbench analyze` from Python.

Each analysis is a function that returns a record, which makes data frames (`record.frame()`) and is written as JSON.
"""

import lazy_loader

# Names are imported on first use: errors need no PyTorch, and tables no matplotlib. __init__.pyi has them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
