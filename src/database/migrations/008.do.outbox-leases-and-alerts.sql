-- Who is sending a message at the moment, and until when nobody else may try.
alter table outbox add column leased_by text, add column leased_until timestamptz;

-- What is remembered of each alert's condition, so that any replica can go on with it.
create table alerts (
  key text primary key,
  condition jsonb not null,
  updated_at timestamptz not null default now()
);
