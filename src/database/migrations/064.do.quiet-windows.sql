-- A time in which no notifications are sent. The one row exists until the summary of the window is written.
create table quiet_window (
  is_only boolean primary key default true check (is_only),
  set_by text not null,
  reason text not null,
  since timestamptz not null,
  until_at timestamptz not null
);

-- What was not sent in the window. The summary counts and lists it, and deletes the rows.
create table quiet_notices (
  dedupe_key text primary key,
  notice_id bigint generated always as identity,
  type text not null,
  kind text,
  condition text,
  line text
);

comment on table quiet_window is 'The quiet window, in which no notifications are sent. At most one row, until its summary is written. This service alone reads and writes it.';
comment on column quiet_window.is_only is 'Always true, so that there is at most one row.';
comment on column quiet_window.set_by is 'User who set the window last.';
comment on column quiet_window.reason is 'Reason of that user.';
comment on column quiet_window.since is 'When the window began. A window that replaces one that is not over has the start of that one.';
comment on column quiet_window.until_at is 'When the window ends.';

comment on table quiet_notices is 'Notifications that were not sent because of the quiet window, up to 10,000. This service alone reads and writes the rows, and deletes them with the summary.';
comment on column quiet_notices.dedupe_key is 'Identifies the message, as in outbox.';
comment on column quiet_notices.notice_id is 'Order of the notifications.';
comment on column quiet_notices.type is 'What happened, as the type of an event of the webhook.';
comment on column quiet_notices.kind is 'Kind of the alert. Null for messages that are no alerts of conditions.';
comment on column quiet_notices.condition is 'Key of the condition, as in alerts. Null for messages that are no alerts of conditions.';
comment on column quiet_notices.line is 'The condition as a line of the summary, in HTML. Null for messages that are no alerts of conditions.';
