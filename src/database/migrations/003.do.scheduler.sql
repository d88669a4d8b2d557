-- What each job's clock stands at. A fire is claimed by moving next_fire_at on from the time it is due.
create table scheduled_jobs (
  job_id text primary key,
  -- The trigger as it was when next_fire_at was computed: another one starts afresh.
  definition text not null,
  paused boolean not null default false,
  paused_by text,
  paused_reason text,
  next_fire_at timestamptz,
  -- The first fire since the job was last started or resumed: nothing is overdue before it.
  first_due_at timestamptz,
  last_success_at timestamptz
);

-- The clock of the whole cluster: one row.
create table scheduler_state (
  is_only boolean primary key default true check (is_only),
  running boolean not null default true,
  changed_by text,
  changed_at timestamptz not null default now(),
  reason text,
  resumes_at timestamptz
);
insert into scheduler_state default values;

-- History and claim in one: a row is made when a run begins, and carries its lease while it lasts.
create table job_runs (
  run_id uuid primary key,
  seq bigint generated always as identity unique,
  job_id text not null,
  trigger text not null check (trigger in ('schedule', 'manual', 'catch_up')),
  actor text,
  instance text not null,
  scheduled_for timestamptz,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  lease_token uuid,
  lease_expires_at timestamptz,
  outcome text not null check (outcome in ('running', 'succeeded', 'failed', 'abandoned', 'skipped')),
  -- Of a skipped row: the fires that were missed. Of a run: the fires that came due while it lasted.
  skipped_count integer not null default 0,
  progress_done integer,
  progress_total integer,
  result jsonb,
  error_code text,
  check ((outcome = 'running') = (finished_at is null))
);
-- N replicas run a fire once, and a job has at most one unfinished run.
create unique index job_runs_fire on job_runs (job_id, scheduled_for);
create unique index job_runs_unfinished on job_runs (job_id) where outcome = 'running';
create index job_runs_job on job_runs (job_id, seq desc);
create index job_runs_success on job_runs (job_id, finished_at desc) where outcome = 'succeeded';
create index job_runs_started on job_runs (started_at);
