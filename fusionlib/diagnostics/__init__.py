"""Diagnostics: can these networks be merged, and why? One file per measure of weights, functions or losses.

All take plain arrays or tensors whose shapes are documented, so that each can be checked against a closed form.
"""

from fusionlib.diagnostics.agreement import AgreementMeter, disagreement, diversity
from fusionlib.diagnostics.barrier import barrier, barrier_point
from fusionlib.diagnostics.cka import ActivationSimilarity, linear_cka
from fusionlib.diagnostics.discrepancy import discrepancy
from fusionlib.diagnostics.evidence import Evidence, guesses, weight_evidence
from fusionlib.diagnostics.gram import cosine_along_path, cosine_from_gram, gram, l2_from_gram, norms_from_gram
from fusionlib.diagnostics.oracle import OracleMeter, oracle
from fusionlib.diagnostics.survey import WeightSurvey, survey, survey_arena
from fusionlib.diagnostics.verdict import RULES, Verdict, judge

__all__ = [
    "RULES",
    "ActivationSimilarity",
    "AgreementMeter",
    "Evidence",
    "OracleMeter",
    "Verdict",
    "WeightSurvey",
    "barrier",
    "barrier_point",
    "cosine_along_path",
    "cosine_from_gram",
    "disagreement",
    "discrepancy",
    "diversity",
    "gram",
    "guesses",
    "judge",
    "l2_from_gram",
    "linear_cka",
    "norms_from_gram",
    "oracle",
    "survey",
    "survey_arena",
    "weight_evidence",
]
