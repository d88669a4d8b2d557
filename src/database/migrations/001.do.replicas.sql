-- Who serves: each replica shows itself here while it runs.
create table replicas (
  instance_id text primary key,
  version text not null,
  started_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  draining boolean not null default false,
  cache_command_seen bigint not null default 0
);
create index replicas_last_seen_at on replicas (last_seen_at);
