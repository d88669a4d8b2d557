-- The last heartbeat to the dead man's switch. One replica claims each minute of the database's clock.
create table heartbeat (
  is_only boolean primary key default true check (is_only),
  claimed_at timestamptz,
  claimed_by text,
  -- The last request that ended: what it reported (null: healthy), and its result.
  sent_at timestamptz,
  reason text,
  outcome text
);
insert into heartbeat default values;

comment on table heartbeat is 'The last heartbeat to the dead man''s switch. One row. This service alone reads and writes it.';
comment on column heartbeat.is_only is 'Always true, so that there is one row.';
comment on column heartbeat.claimed_at is 'When a replica claimed its minute. Null before the first.';
comment on column heartbeat.claimed_by is 'The replica that claimed it. Null before the first.';
comment on column heartbeat.sent_at is 'When the last request ended. Null before the first.';
comment on column heartbeat.reason is 'Why that request reported that the cluster is not healthy. Null when it reported a healthy one.';
comment on column heartbeat.outcome is 'How that request ended: ok, rejected or unreachable. Null before the first.';
