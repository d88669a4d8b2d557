-- Where a message goes: to a chat of Telegram, or to the webhook. An older version tries to send a message of the webhook
-- to the chat `webhook`, which Telegram does not know, and leaves it to a replica of this version.
alter table outbox
  add column destination text not null default 'telegram' check (destination in ('telegram', 'webhook')),
  -- What happened, as the webhook gets it; null for messages to Telegram.
  add column event jsonb;
