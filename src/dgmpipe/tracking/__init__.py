"""Runs in MLflow: a copy to look at of what stands under results/."""
