-- What the last message said about a row, and when that message was stored; null before the first. net, end_balance and
-- unrealized_pnl as text, trades as number.
alter table daily_account_summaries add column sent jsonb, add column sent_at timestamptz;
create index daily_account_summaries_to_compare on daily_account_summaries (date) where computed_at > sent_at and is_final;
