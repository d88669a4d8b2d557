-- The times during which a check of a replica had one code. Null: ok, which is recorded for readiness alone.
create table health_periods (
  period_id uuid primary key,
  check_name text not null,
  instance text not null,
  code text,
  from_at timestamptz not null,
  -- While the period lasts: when its replica last confirmed it.
  until_at timestamptz not null,
  is_over boolean not null,
  check (from_at <= until_at)
);
create index health_periods_until_at on health_periods (until_at);
