-- Tokens with which scripts call the API. Only their hashes are stored.
create table api_tokens (
  token_hash bytea primary key,
  name text not null,
  role text not null check (role in ('admin', 'viewer', 'user')),
  user_id bigint references users on delete cascade,
  networks text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  last_used_at timestamptz,
  revoked_at timestamptz,
  constraint api_tokens_user check (role <> 'user' or user_id is not null)
);
create unique index api_tokens_name on api_tokens (lower(name));
create index api_tokens_user_id on api_tokens (user_id);
create index api_tokens_ended on api_tokens (least(expires_at, revoked_at));

comment on table api_tokens is 'Tokens with which scripts call the API. Removed 90 days after their end.';
comment on column api_tokens.token_hash is 'SHA-256 of the token, which itself is stored nowhere.';
comment on column api_tokens.name is 'The name of the token in the audit log, unique without case.';
comment on column api_tokens.role is 'What the token may do at most: admin, viewer or user.';
comment on column api_tokens.user_id is 'The user for whom the token acts: it may never do more than this user. Null for a token without a user.';
comment on column api_tokens.networks is 'Addresses and networks of the clients that may use the token, separated by commas. Null for every client.';
comment on column api_tokens.created_at is 'When the token was created.';
comment on column api_tokens.expires_at is 'From when on the token is rejected.';
comment on column api_tokens.last_used_at is 'The last accepted request, to the minute. Null before the first.';
comment on column api_tokens.revoked_at is 'When the token was revoked. Null while it is not.';
