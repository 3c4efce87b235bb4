"""Diagnostics: can these networks be merged, and why? One file per kind of evidence, out of weights and losses.

All take plain arrays or tensors whose shapes are documented, so that each can be checked against a closed form.
"""

from fusionlib.diagnostics.barrier import barrier, barrier_point
from fusionlib.diagnostics.discrepancy import discrepancy
from fusionlib.diagnostics.evidence import Evidence, guesses, weight_evidence
from fusionlib.diagnostics.gram import cosine_along_path, cosine_from_gram, gram, l2_from_gram, norms_from_gram
from fusionlib.diagnostics.survey import WeightSurvey, survey, survey_arena
from fusionlib.diagnostics.verdict import RULES, Verdict, judge

__all__ = [
    "RULES",
    "Evidence",
    "Verdict",
    "WeightSurvey",
    "barrier",
    "barrier_point",
    "cosine_along_path",
    "cosine_from_gram",
    "discrepancy",
    "gram",
    "guesses",
    "judge",
    "l2_from_gram",
    "norms_from_gram",
    "survey",
    "survey_arena",
    "weight_evidence",
]
