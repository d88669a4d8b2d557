-- Which replica reads the updates of a bot, and from which update on: one row per bot. All times are the database's.
create table telegram_polling (
  -- The public number of the bot: the part of its token before the colon.
  bot_id text primary key,
  leased_by text,
  lease_token uuid,
  leased_until timestamptz,
  -- The id after that of the last update that was handled; null before the first.
  next_update_id bigint,
  last_update_at timestamptz,
  -- When Telegram last answered, and why it no longer does.
  last_poll_at timestamptz,
  error_code text,
  failing_since timestamptz,
  failures integer not null default 0,
  -- No replica polls earlier.
  next_poll_at timestamptz not null default now()
);

-- The commands and pressed buttons that were handled. Telegram repeats an update until a later one is asked for.
create table telegram_updates (
  bot_id text not null,
  update_id bigint not null,
  chat_id text not null,
  outcome text not null,
  handled_at timestamptz not null default now(),
  primary key (bot_id, update_id)
);
create index telegram_updates_by_time on telegram_updates (handled_at);

-- Changes that were asked for by a command, and wait for a button or were decided.
create table telegram_confirmations (
  confirmation_id bigint generated always as identity primary key,
  -- SHA-256 of the token in the buttons.
  token_hash bytea not null unique,
  chat_id text not null,
  user_id text not null,
  action jsonb not null,
  -- What is asked, in Telegram's HTML.
  question text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  -- The message with the buttons; null until it was sent.
  message_id text,
  -- What replaces the buttons; null while nothing was decided.
  result text,
  decided_at timestamptz,
  -- When the message had the result.
  shown_at timestamptz
);
create index telegram_confirmations_not_shown on telegram_confirmations (confirmation_id) where shown_at is null;

comment on table telegram_polling is 'Which replica reads the updates of a Telegram bot, and from which update on: one row per bot. Written by the service.';
comment on column telegram_polling.bot_id is 'The public number of the bot: the part of its token before the colon.';
comment on column telegram_polling.leased_by is 'The replica that reads the updates; null while there is none.';
comment on column telegram_polling.lease_token is 'The secret of the lease; null while there is none.';
comment on column telegram_polling.leased_until is 'When another replica may read the updates; null while there is no lease.';
comment on column telegram_polling.next_update_id is 'The id after that of the last update that was handled; null before the first.';
comment on column telegram_polling.last_update_at is 'When the last update was handled; null before the first.';
comment on column telegram_polling.last_poll_at is 'When Telegram last answered; null before the first answer.';
comment on column telegram_polling.error_code is 'Why Telegram does not answer any more; null while it does.';
comment on column telegram_polling.failing_since is 'Since when Telegram does not answer; null while it does.';
comment on column telegram_polling.failures is 'Polls in a row that failed.';
comment on column telegram_polling.next_poll_at is 'No replica polls earlier.';
comment on table telegram_updates is 'The commands and pressed buttons of a Telegram bot that were handled: each of them once. Rows older than 8 days are deleted. Written by the service.';
comment on column telegram_updates.bot_id is 'The public number of the bot.';
comment on column telegram_updates.update_id is 'The id that Telegram gave to the update.';
comment on column telegram_updates.chat_id is 'The chat that it came from.';
comment on column telegram_updates.outcome is 'What became of it: requested, succeeded, refused, failed or throttled.';
comment on column telegram_updates.handled_at is 'When it was handled.';
comment on table telegram_confirmations is 'Changes that were asked for by a Telegram command, and wait for a button or were decided. Rows older than 8 days are deleted. Written by the service.';
comment on column telegram_confirmations.confirmation_id is 'The number of the row.';
comment on column telegram_confirmations.token_hash is 'SHA-256 of the token in the buttons.';
comment on column telegram_confirmations.chat_id is 'The chat of the command.';
comment on column telegram_confirmations.user_id is 'The Telegram user who sent the command, and may press the buttons.';
comment on column telegram_confirmations.action is 'The change: its kind and its parameters.';
comment on column telegram_confirmations.question is 'What is asked, in the HTML of Telegram.';
comment on column telegram_confirmations.created_at is 'When the command was handled.';
comment on column telegram_confirmations.expires_at is 'After this time the buttons have no effect.';
comment on column telegram_confirmations.message_id is 'The message with the buttons; null until it was sent.';
comment on column telegram_confirmations.result is 'What replaces the buttons; null while nothing was decided.';
comment on column telegram_confirmations.decided_at is 'When it was decided or lapsed; null before.';
comment on column telegram_confirmations.shown_at is 'When the message had the result; null before.';
