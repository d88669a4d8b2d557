-- Up to which run of each job the ends were taken in: one that failed is told of even if the next succeeds at once.
create table alert_progress (
  job_id text primary key,
  seq bigint not null
);

-- Tells processes of one name apart. lost_at: when the one before was last seen, if it ended without taking its row away.
alter table replicas add column incarnation uuid, add column lost_at timestamptz;
