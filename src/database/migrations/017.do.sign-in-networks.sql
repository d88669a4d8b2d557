-- The networks from which each user has signed in: a keyed hash of the name and the network. From these, attempts are not
-- slowed down by failures elsewhere. At most 32 rows for each user; rows without a sign-in for 90 days have no effect.
create table sign_in_networks (
  network_hash bytea primary key check (octet_length(network_hash) = 32),
  user_id bigint not null references users on delete cascade,
  last_sign_in_at timestamptz not null default now()
);
create index sign_in_networks_user_id on sign_in_networks (user_id, last_sign_in_at);
create index sign_in_networks_last_sign_in_at on sign_in_networks (last_sign_in_at);
