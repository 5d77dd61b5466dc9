"""The annex of the report: items of two reporting guidelines, in our own words, with where each is answered.

CLAIM 2024: Tejani et al., Radiology: Artificial Intelligence 2024. TRIPOD+AI: Collins et al., BMJ 2024;385:e078378.
The numbers are theirs; the published wording, which is to be consulted, is not copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["filled", "in part", "needs a person"]

# number, what is asked, the fact that answers it; an empty one needs a person.
CLAIM = (
    ("1", "Title names AI and its kind", "kind"),
    ("2", "Structured abstract", ""),
    ("3", "Background, intended use, clinical role", "use"),
    ("4", "Aims and hypotheses", ""),
    ("5", "Prospective or retrospective", ""),
    ("6", "Goal of the study", ""),
    ("7", "Sources of the data", "source"),
    ("8", "Inclusion and exclusion criteria", ""),
    ("9", "Preprocessing", "preprocessing"),
    ("10", "Selection of subsets of the data", "subsets"),
    ("11", "De-identification", "privacy"),
    ("12", "Missing data", "missing"),
    ("13", "Image acquisition", ""),
    ("14", "Definition of the reference standard", ""),
    ("15", "Why this reference standard", ""),
    ("16", "Who annotated", ""),
    ("17", "Annotation of the test set", ""),
    ("18", "Variability between and within annotators", ""),
    ("19", "How data were assigned to splits", "assignment"),
    ("20", "Level at which splits are disjoint", "level"),
    ("21", "Intended size of the test set", ""),
    ("22", "The model in detail", "model"),
    ("23", "Software and its versions", "software"),
    ("24", "How parameters were initialised", "initial"),
    ("25", "Training procedure", "training"),
    ("26", "How the final model was chosen", "selection"),
    ("27", "Ensembling", "ensemble"),
    ("28", "Measures of performance", "metrics"),
    ("29", "Uncertainty and significance", "uncertainty"),
    ("30", "Robustness", "robustness"),
    ("31", "Explainability", "maps"),
    ("32", "Evaluation on internal data", "internal"),
    ("33", "Testing on external data", "external"),
    ("34", "Registration of the trial", ""),
    ("35", "Flow: included and excluded", "flow"),
    ("36", "Demographic and clinical make-up of the splits", "makeup"),
    ("37", "Performance on the test set", "metrics"),
    ("38", "Estimates with their precision", "uncertainty"),
    ("39", "Analysis of failures", "failures"),
    ("40", "Limitations", "limits"),
    ("41", "Implications for practice", ""),
    ("42", "Full protocol or technical details", "details"),
    ("43", "Availability of software, model, data", "availability"),
    ("44", "Funding", ""),
)
TRIPOD_AI = (
    ("1", "Title", ""),
    ("2", "Abstract", ""),
    ("3a", "Health-care context", ""),
    ("3b", "Target population, purpose, users", "purpose"),
    ("3c", "Known health inequalities", ""),
    ("4", "Objectives", ""),
    ("5a", "Sources of the data", "source"),
    ("5b", "Dates of the data", ""),
    ("6a", "Setting and centres", ""),
    ("6b", "Eligibility", ""),
    ("6c", "Treatments received", ""),
    ("7", "Preparation of the data", "preprocessing"),
    ("8a", "Outcome and how it is assessed", "outcome"),
    ("8b", "Qualification of the assessors", ""),
    ("8c", "Blinding of the outcome", ""),
    ("9a", "Choice of predictors", "predictors"),
    ("9b", "Definition of predictors", "predictors"),
    ("9c", "Assessors of predictors", "predictors"),
    ("10", "Sample size and why", ""),
    ("11", "Missing data", "missing"),
    ("12a", "Which data for what", "assignment"),
    ("12b", "Handling of predictors", "preprocessing"),
    ("12c", "Type of model, building, tuning", "tuning"),
    ("12d", "Differences between clusters", "clusters"),
    ("12e", "Measures and plots of performance", "metrics"),
    ("12f", "Updating of the model", "updating"),
    ("12g", "How predictions are computed", "model"),
    ("13", "Class imbalance", "imbalance"),
    ("14", "Fairness", "fairness"),
    ("15", "Output and thresholds", "point"),
    ("16", "Training against evaluation data", "level"),
    ("17", "Ethical approval", ""),
    ("18a", "Funding", ""),
    ("18b", "Conflicts of interest", ""),
    ("18c", "Protocol", ""),
    ("18d", "Registration", ""),
    ("18e", "Sharing of data", ""),
    ("18f", "Sharing of code", "availability"),
    ("19", "Involvement of patients and the public", ""),
    ("20a", "Flow of participants", "flow"),
    ("20b", "Characteristics of participants", "makeup"),
    ("20c", "Development against evaluation data", "makeup"),
    ("21", "Numbers in each analysis", "makeup"),
    ("22", "The model itself", "details"),
    ("23a", "Performance with intervals", "metrics"),
    ("23b", "Performance across clusters", "patients"),
    ("24", "Results of updating", "updating"),
    ("25", "Interpretation", ""),
    ("26", "Limitations", "limits"),
    ("27a", "Poor or missing input at use", "input"),
    ("27b", "Users' interaction and expertise", ""),
    ("27c", "Next steps", ""),
)


@dataclass(frozen=True)
class Fact:
    """What the rows say, and which part of the question that leaves to a person."""

    text: str
    person: str | None = None


@dataclass(frozen=True)
class Item:
    """One item: what the rows say to it, and what a person must write, which is all of it where they say nothing."""

    number: str
    asked: str
    state: State
    filled: str | None
    person: str | None


def items(guideline: tuple[tuple[str, str, str], ...], facts: Mapping[str, Fact]) -> list[Item]:
    """The items of a guideline, filled from the facts that are there."""
    return [_item(number, asked, facts.get(fact)) for number, asked, fact in guideline]


def _item(number: str, asked: str, fact: Fact | None) -> Item:
    if fact is None:
        return Item(number, asked, "needs a person", None, asked)
    return Item(number, asked, "in part" if fact.person else "filled", fact.text, fact.person)
