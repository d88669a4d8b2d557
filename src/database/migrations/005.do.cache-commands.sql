-- Clears of the caches, in order: each replica obeys those that it has not seen (replicas.cache_command_seen).
create table cache_commands (
  command_id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text,
  filter jsonb not null default '{}'
);
create index cache_commands_at on cache_commands (at);
