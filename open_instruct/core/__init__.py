"""What every stage stands on: records, journals, chat templates, run information. Knows no stage."""
