"""MLflow: the viewer of the trainings. Files are the truth, so nothing here may stop or slow one."""
