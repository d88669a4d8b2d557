-- Who may sign in, who is signed in, and who did what.
create table users (
  user_id bigint generated always as identity primary key,
  username text not null,
  password_hash text not null,
  is_admin boolean not null default false,
  is_active boolean not null default true,
  must_change_password boolean not null default false,
  telegram_chat_id text,
  last_sign_in_at timestamptz,
  created_at timestamptz not null default now()
);
create unique index users_username on users (lower(username));

create table sessions (
  session_hash bytea primary key,
  user_id bigint not null references users on delete cascade,
  data jsonb not null default '{}',
  created_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index sessions_user_id on sessions (user_id);
create index sessions_expires_at on sessions (expires_at);

create table audit_log (
  audit_id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text,
  address text,
  action text not null,
  target text,
  outcome text not null check (outcome in ('requested', 'succeeded', 'refused', 'failed')),
  request_id text,
  details jsonb not null default '{}'
);
create index audit_log_at on audit_log (at);
create index audit_log_actor on audit_log (actor, audit_id);
create index audit_log_action on audit_log (action, audit_id);

-- A fixed number of slots, chosen by a keyed hash of who tries what from where: whatever names and addresses are
-- tried, the table cannot grow beyond them.
create table sign_in_limits (
  slot integer primary key check (slot between 0 and 1048575),
  failures integer not null default 0,
  locked_until timestamptz not null default '-infinity',
  updated_at timestamptz not null default now(),
  throttled_audit_id bigint
);
create index sign_in_limits_updated_at on sign_in_limits (updated_at);
