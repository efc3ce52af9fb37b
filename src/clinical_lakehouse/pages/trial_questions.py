"""What the trial report asks the lake: each statement is run as it stands, and shown."""

from clinical_lakehouse.pages.asking import Question

STUDY = Question(
    "patient_ingestion",
    """SELECT title, phase_code, status
FROM silver.study
ORDER BY study_key
LIMIT 20""",
)

ENROLMENT = Question(
    "patient_ingestion",
    """SELECT coalesce(o.name, 'Site not known') AS site,
       CAST(trunc(s.started_at, 'MM') AS DATE) AS month,
       count(*) AS enrolled_count,
       count_if(s.status = 'withdrawn') AS withdrawn_count,
       count_if(s.status = 'off-study') AS off_count
FROM silver.subject AS s
LEFT JOIN silver.organization AS o ON o.organization_key = s.organization_key
WHERE s.started_at IS NOT NULL
  AND s.status IN ('on-study', 'on-study-intervention', 'on-study-observation',
                   'follow-up', 'withdrawn', 'off-study')
GROUP BY 1, 2
ORDER BY 1, 2""",
)

RECEIVED = Question(
    "patient_ingestion",
    """SELECT CASE WHEN resource_type RLIKE '^[A-Z][A-Za-z]{2,39}$' THEN resource_type
            ELSE 'Unreadable' END AS resource_type,
       count(DISTINCT file_id) AS file_count,
       sum(received_count) AS received_count,
       sum(loaded_count) AS loaded_count,
       sum(duplicate_count) AS duplicate_count,
       sum(quarantined_count) AS quarantined_count
FROM ops.landing_file
GROUP BY 1
ORDER BY received_count DESC, resource_type""",
)

REASONS = Question(
    "patient_ingestion",
    """SELECT reason,
       count(*) AS quarantined_count,
       count(DISTINCT file_id) AS file_count,
       array_sort(collect_set(
         CASE WHEN resource_type RLIKE '^[A-Z][A-Za-z]{2,39}$' THEN resource_type
              ELSE 'Unreadable' END)) AS resource_types
FROM bronze.quarantine
WHERE decision IS DISTINCT FROM 'released'
GROUP BY reason
ORDER BY quarantined_count DESC, reason""",
)

QUALITY = Question(
    "data_quality",
    """SELECT table_name, check_name, severity, row_count, failed_count, passed_ratio,
       latest.checked_at, score
FROM (SELECT *, rank() OVER (PARTITION BY table_name
                             ORDER BY checked_at DESC, run_id DESC) AS place
      FROM ops.quality_result) AS latest
JOIN ops.quality_score AS scored
  ON scored.run_id = latest.run_id AND dimension = 'table' AND slice = table_name
WHERE place = 1
ORDER BY table_name, check_name""",
)

ALERTS = Question(
    "alerting",
    """SELECT kind, severity, state, message, value, threshold, source,
       first_seen_at, last_seen_at,
       count(*) OVER (PARTITION BY state) AS state_count
FROM ops.alert
ORDER BY state = 'resolved',
         array_position(array('critical', 'warning', 'info'), severity),
         last_seen_at DESC, kind, message
LIMIT 60""",
)

TASKS = Question(
    "clinical_data_pipeline",
    """SELECT job, task, state, attempt, recorded_at, duration_seconds, metrics, message
FROM (SELECT *, row_number() OVER (PARTITION BY job, task
                                   ORDER BY recorded_at DESC, attempt DESC) AS place
      FROM ops.task_run
      WHERE state <> 'running' AND entry_point IS NOT NULL
        AND recorded_at >= (SELECT max(recorded_at) FROM ops.task_run) - INTERVAL 24 HOURS)
WHERE place = 1
ORDER BY recorded_at, job, task
LIMIT 120""",
)

VERSIONS = Question(
    "model_training",
    """SELECT model_version, algorithm, horizon_days, train_row_count, test_row_count,
       train_from_date, train_to_date, test_from_date, test_to_date, trained_at
FROM gold.model_version
WHERE model_name = :model
ORDER BY model_version DESC
LIMIT 12""",
)

GATES = Question(
    "model_evaluation",
    """SELECT model_version, is_passed, reason
FROM gold.model_gate
WHERE model_name = :model
ORDER BY model_version DESC
LIMIT 12""",
)

SCORED = Question(
    "model_deployment",
    """SELECT model_version,
       max(scored_at) AS scored_at,
       count(*) AS row_count,
       count(DISTINCT research_subject_key) AS subject_count
FROM gold.prediction
WHERE model_name = :model
GROUP BY model_version
ORDER BY scored_at DESC, model_version DESC""",
)

EVALUATION = Question(
    "model_evaluation",
    """SELECT metric, group_name, group_value, value, low, high, baseline,
       row_count, event_count, person_count
FROM gold.model_evaluation
WHERE model_name = :model AND model_version = :version
ORDER BY metric, group_name, group_value""",
)

DECISIONS = Question(
    "model_training",
    """SELECT decided_at, outcome, sentence
FROM gold.training_decision
WHERE model_name = :model
ORDER BY decided_at DESC
LIMIT 1""",
)

CRITERIA = Question(
    "model_evaluation",
    """SELECT criterion, group_name, value, at_least, at_most, verdict, sentence
FROM gold.model_gate_criterion
WHERE model_name = :model AND model_version = :version
ORDER BY array_position(array('failed', 'indeterminate', 'passed'), verdict) = 0,
         array_position(array('failed', 'indeterminate', 'passed'), verdict),
         criterion, group_name""",
)

COMPARISON = Question(
    "model_evaluation",
    """SELECT compared_with, metric, value, other_value, difference, low, high, p_value, method,
       person_count
FROM gold.model_comparison
WHERE model_name = :model AND model_version = :version
ORDER BY compared_with, metric""",
)

GROUPS = Question(
    "model_evaluation",
    """SELECT attribute, group_value, metric, value, low, high, expected, verdict, event_count,
       person_count
FROM gold.fairness_finding
WHERE model_name = :model AND model_version = :version AND value IS NOT NULL
ORDER BY verdict <> 'harm', verdict, attribute, group_value, metric
LIMIT 400""",
)

MITIGATION = Question(
    "model_evaluation",
    """SELECT mitigation, attribute, max(verdict) AS verdict,
       max(true_positive_rate) - min(true_positive_rate) AS gap_before,
       max(true_positive_rate_after) - min(true_positive_rate_after) AS gap_after,
       min(net_benefit_after - net_benefit) AS worst_change,
       max(net_benefit_after - net_benefit) AS best_change
FROM gold.fairness_mitigation
WHERE model_name = :model AND model_version = :version
GROUP BY mitigation, attribute
ORDER BY attribute, mitigation""",
)

SITES = Question(
    "model_evaluation",
    """SELECT m.organization_key, coalesce(o.name, 'Site not known') AS site, m.measure, m.value,
       m.low, m.high, m.new_site_low, m.new_site_high, m.heterogeneity_ratio, m.is_named,
       m.event_count, m.person_count
FROM gold.model_site AS m
LEFT JOIN silver.organization AS o ON o.organization_key = m.organization_key
WHERE m.model_name = :model AND m.model_version = :version
ORDER BY m.measure, site, m.organization_key
LIMIT 300""",
)

CURVES = Question(
    "model_evaluation",
    """SELECT curve, series, point, x, y, row_count
FROM (SELECT *, max(point) OVER (PARTITION BY curve, series) AS last_point
      FROM gold.model_curve
      WHERE model_name = :model AND model_version = :version
        AND curve IN ('roc', 'calibration', 'net_benefit', 'score'))
WHERE point = last_point OR point % greatest(1, last_point DIV 40) = 0
ORDER BY curve, series, point""",
)

SURVIVAL = Question(
    "model_evaluation",
    """SELECT curve, group_value, time_days, value, low, high, at_risk_count
FROM (SELECT *, row_number() OVER (PARTITION BY curve, group_value ORDER BY time_days) AS place,
             count(*) OVER (PARTITION BY curve, group_value) AS places
      FROM gold.survival_curve
      WHERE endpoint = 'time_to_discontinuation')
WHERE place = places OR place % greatest(1, places DIV 20) = 0
ORDER BY curve, group_value, time_days""",
)

SURVIVAL_FIGURES = Question(
    "model_evaluation",
    """SELECT metric, term, value, low, high, p_value, person_count, event_count
FROM gold.survival_figure
WHERE endpoint = 'time_to_discontinuation'
ORDER BY metric, term
LIMIT 60""",
)

CARD = Question(
    "model_evaluation",
    """SELECT document, item, asked, answered_by, answer
FROM gold.model_card
WHERE model_name = :model AND model_version = :version
ORDER BY document DESC, position""",
)

METRICS = Question(
    "model_performance_monitoring",
    """SELECT metric, window_start_date, window_end_date, value, low, high, reference,
       is_over_limit, row_count, event_count
FROM gold.model_metric
WHERE model_name = :model AND model_version = :version
  AND window_end_date >= add_months(CAST(:as_of AS DATE), -36)
ORDER BY metric, window_end_date""",
)

FIRST = {
    "study": STUDY,
    "enrolment": ENROLMENT,
    "received": RECEIVED,
    "reasons": REASONS,
    "quality": QUALITY,
    "alerts": ALERTS,
    "tasks": TASKS,
    "versions": VERSIONS,
    "gates": GATES,
    "decisions": DECISIONS,
    "survival": SURVIVAL,
    "survival_figures": SURVIVAL_FIGURES,
    "scored": SCORED,
}
OF_VERSION = {
    "evaluation": EVALUATION,
    "curves": CURVES,
    "metrics": METRICS,
    "criteria": CRITERIA,
    "comparison": COMPARISON,
    "groups": GROUPS,
    "mitigation": MITIGATION,
    "sites": SITES,
    "card": CARD,
}
