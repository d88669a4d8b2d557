-- Messages on their way to Telegram: written with the change that causes them, sent in order per chat.
create table outbox (
  message_id bigint generated always as identity primary key,
  chat_id text not null,
  text text not null,
  dedupe_key text not null unique,
  created_at timestamptz not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  delivered_at timestamptz,
  given_up_at timestamptz,
  error_code text
);
create index outbox_waiting on outbox (chat_id, message_id) where delivered_at is null and given_up_at is null;
create index outbox_created_at on outbox (created_at);
