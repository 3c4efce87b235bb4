"""Every extension point of the library, in one package: a module for each kind of thing.

| to add            | write one file in          | and register it with            |
|-------------------|----------------------------|---------------------------------|
| an architecture   | `fusionlib/architectures/` | `@ARCHITECTURES.register(name)` |
| names of other code | `fusionlib/architectures/` | `@SPELLINGS.register(name)`   |
| a dataset         | `fusionlib/data/`          | `@DATASETS.register(name)`      |
| a merge method    | `fusionlib/merging/`       | `@METHODS.register(name)`       |
| a statistic       | `fusionlib/statistics/`    | `@STATISTICS.register(name)`    |
| a measure         | `fusionlib/measures/`      | `@MEASURES.register(name)`      |
| a study           | `fusionlib/studies/`       | `@STUDIES.register(name)`       |
| a way to search   | `fusionlib/studies/strategies/` | `@STRATEGIES.register(name)` |
| a diagnostic      | `fusionlib/diagnostics/`   | `@DIAGNOSTICS.register(name)`   |
| a training regime | `fusionlib/lab/regimes/`   | `@REGIMES.register(name)`       |
| a kind of posterior | `fusionlib/merging/posteriors/` | `@POSTERIORS.register(name)` |
| a fusion of learners | `fusionlib/architectures/fusions/` | `@FUSIONS.register(name)` |

Shapes: K checkpoints, M members of a mixture, P packed float elements, N images, C classes, H rows, W columns.
"""

from __future__ import annotations

from fusionlib.contracts.architectures import (
    ARCHITECTURES,
    SPELLINGS,
    Architecture,
    Output,
    OwnClasses,
    ParameterGroup,
    Permutation,
    Preprocessing,
    Stage,
    Supervised,
    UsualTraining,
    class_count,
)
from fusionlib.contracts.data import DATASETS, IGNORE, Dataset, DatasetOpener, Sample
from fusionlib.contracts.lab import REGIMES, START, Batch, Point, Regime, Span, Training
from fusionlib.contracts.learners import FUSIONS, Fusion, Learners
from fusionlib.contracts.measures import (
    DIAGNOSTICS,
    MEASURES,
    Diagnostic,
    Figure,
    Grain,
    MapMeasure,
    Measure,
    Needs,
    Networks,
    State,
)
from fusionlib.contracts.merging import METHODS, MergeMethod, Mixture, Shares
from fusionlib.contracts.posteriors import POSTERIORS, Posterior
from fusionlib.contracts.progress import Progress
from fusionlib.contracts.statistics import STATISTICS, Found, LoadedNetwork, Statistic, Subject, Table, Wanted
from fusionlib.contracts.studies import STRATEGIES, STUDIES, Objective, Strategy, Study
from fusionlib.description import Description, Part, Parts, Spelling, TensorShapes, Turn, whole_shapes
from fusionlib.parameters import Parameter, parameter, parameters_of
from fusionlib.registry import Registry

__all__ = [
    "ARCHITECTURES",
    "DATASETS",
    "DIAGNOSTICS",
    "FUSIONS",
    "IGNORE",
    "MEASURES",
    "METHODS",
    "POSTERIORS",
    "REGIMES",
    "SPELLINGS",
    "START",
    "STATISTICS",
    "STRATEGIES",
    "STUDIES",
    "Architecture",
    "Batch",
    "Dataset",
    "DatasetOpener",
    "Description",
    "Diagnostic",
    "Figure",
    "Found",
    "Fusion",
    "Grain",
    "Learners",
    "LoadedNetwork",
    "MapMeasure",
    "Measure",
    "MergeMethod",
    "Mixture",
    "Needs",
    "Networks",
    "Objective",
    "Output",
    "OwnClasses",
    "Parameter",
    "ParameterGroup",
    "Part",
    "Parts",
    "Permutation",
    "Point",
    "Posterior",
    "Preprocessing",
    "Progress",
    "Regime",
    "Registry",
    "Sample",
    "Shares",
    "Span",
    "Spelling",
    "Stage",
    "State",
    "Statistic",
    "Strategy",
    "Study",
    "Subject",
    "Supervised",
    "Table",
    "TensorShapes",
    "Training",
    "Turn",
    "UsualTraining",
    "Wanted",
    "class_count",
    "parameter",
    "parameters_of",
    "whole_shapes",
]
