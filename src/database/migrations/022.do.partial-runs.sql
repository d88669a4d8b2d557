-- A run that ended and left something undone.
alter table job_runs
  drop constraint job_runs_outcome_check,
  add constraint job_runs_outcome_check
    check (outcome in ('running', 'succeeded', 'partial', 'failed', 'abandoned', 'skipped'));

-- When a run was last partial. last_success_at is of runs that did everything.
alter table scheduled_jobs add column last_partial_at timestamptz;
