"""Streaming metrics: each function returns (value, update_op) over local variables that add up batch by batch.

Run `sl.local_variables_initializer()` to start again from nothing.
"""
from sluice.metrics._classes import mean_iou, mean_per_class_accuracy
from sluice.metrics._confusion import (accuracy, auc, false_negatives, false_negatives_at_thresholds, false_positives,
                                       false_positives_at_thresholds, precision, precision_at_thresholds, recall,
                                       recall_at_thresholds, sensitivity_at_specificity,
                                       specificity_at_sensitivity, true_negatives, true_negatives_at_thresholds,
                                       true_positives, true_positives_at_thresholds)
from sluice.metrics._means import (mean, mean_absolute_error, mean_cosine_distance, mean_relative_error,
                                   mean_squared_error, mean_tensor, percentage_below, root_mean_squared_error)

__all__ = [name for name in dir() if not name.startswith("_")]
