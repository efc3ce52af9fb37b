"""What pages call the metrics of models."""

NAMES = {
    "auroc": "AUROC",
    "auroc_gain": "AUROC gained over baseline",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "scaled_brier": "Scaled Brier score",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
    "calibration_in_the_large": "Calibration in the large",
    "integrated_calibration_index": "Mean calibration error (ICI)",
    "observed_expected": "Observed / expected",
    "threshold": "Risk threshold",
    "true_positive_rate": "True positive rate",
    "false_positive_rate": "False positive rate",
    "selection_rate": "Selected",
    "net_benefit": "Net benefit at the threshold",
    "net_benefit_treat_all": "Net benefit of acting on all",
    "positive_predictive_value": "Positive predictive value",
    "accuracy": "Accuracy at the threshold",
    "number_needed_to_evaluate": "Number needed to evaluate",
    "sensitivity_at_specificity_90": "Sensitivity at 90% specificity",
    "risk_instability": "A person's risk moves between refits",
    "risk_instability_95": "The same, at most for 95% of rows",
    "decision_instability": "Rows that change sides in a refit",
    "stability_refits": "Refits",
    "people_with_event": "People with the outcome",
    "people_without_event": "People without it",
}


def named(metric: str) -> str:
    """A metric's name for people."""
    return NAMES.get(metric, metric.replace("_", " ").capitalize())
