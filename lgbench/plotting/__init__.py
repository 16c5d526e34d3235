"""The pictures of the paper, from results and training records. The same input gives the same bytes."""

from lgbench.plotting.canvas import check_picture_path, picture, write_picture
from lgbench.plotting.gap import gap_map
from lgbench.plotting.lengths import length_curves
from lgbench.plotting.measures import measure_curves
from lgbench.plotting.series import series_curves
from lgbench.plotting.systems import system_curves
from lgbench.plotting.training import training_curves

__all__ = [
    "check_picture_path",
    "gap_map",
    "length_curves",
    "measure_curves",
    "picture",
    "series_curves",
    "system_curves",
    "training_curves",
    "write_picture",
]
